CREATE TRIGGER anchors_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON anchors
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE anchors ENABLE ALWAYS TRIGGER anchors_append_only;
CREATE TRIGGER anchored_heads_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON anchored_heads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE anchored_heads ENABLE ALWAYS TRIGGER anchored_heads_append_only;
