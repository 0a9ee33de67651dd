CREATE TRIGGER access_denials_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON access_denials
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE access_denials ENABLE ALWAYS TRIGGER access_denials_append_only;
