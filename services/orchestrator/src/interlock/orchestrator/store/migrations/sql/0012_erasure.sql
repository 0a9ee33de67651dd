-- An event that says that payloads are erased erases them, in the transaction that writes it: there is no moment at which
-- the journal says one thing and the table another. What else held the same texts goes with them: the run's goal in its
-- row, recorded answers to requests about the run, and deliveries that have been made.
CREATE FUNCTION erase_payloads() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    named text[] := ARRAY(SELECT json_array_elements_text(convert_from(NEW.canonical, 'UTF8')::json -> 'data' -> 'erased'));
BEGIN
    UPDATE payloads p SET body = '', size = 0, erased_run = NEW.run_id, erased_seq = NEW.seq
      FROM unnest(named) AS n(digest)
     WHERE p.digest = decode(substr(n.digest, 8), 'hex') AND p.erased_run IS NULL;
    UPDATE runs r SET goal = '[erased]'
      FROM journal j
     WHERE r.id = NEW.run_id AND j.run_id = r.id AND j.seq = 1
       AND convert_from(j.canonical, 'UTF8')::json -> 'data' ->> 'goal_payload' = ANY (named);
    DELETE FROM requests WHERE position(convert_to(NEW.run_id, 'UTF8') IN response) > 0;
    DELETE FROM webhook_deliveries WHERE run_id = NEW.run_id AND state <> 'pending';
    RETURN NULL;
END
$$;

CREATE TRIGGER journal_erases AFTER INSERT ON journal
    FOR EACH ROW WHEN (NEW.type = 'run.erased') EXECUTE FUNCTION erase_payloads();

-- Nothing else may change a payload.
CREATE FUNCTION guard_payloads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.erased_run IS NULL AND NEW.digest = OLD.digest AND NEW.media_type = OLD.media_type
       AND NEW.size = 0 AND octet_length(NEW.body) = 0
       AND EXISTS (SELECT 1 FROM journal j
                    WHERE j.run_id = NEW.erased_run AND j.seq = NEW.erased_seq AND j.type = 'run.erased'
                      AND position('"sha256:' || encode(OLD.digest, 'hex') || '"' IN convert_from(j.canonical, 'UTF8')) > 0)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'table payloads is append-only, but for erasures that the journal tells: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER payloads_guarded BEFORE UPDATE OR DELETE ON payloads
    FOR EACH ROW EXECUTE FUNCTION guard_payloads();
ALTER TABLE payloads ENABLE ALWAYS TRIGGER payloads_guarded;
CREATE TRIGGER payloads_kept BEFORE TRUNCATE ON payloads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE payloads ENABLE ALWAYS TRIGGER payloads_kept;
