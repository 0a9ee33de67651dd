CREATE TRIGGER archives_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON archives
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE archives ENABLE ALWAYS TRIGGER archives_append_only;

-- Events may go when the run is archived, and only then.
DROP TRIGGER journal_append_only ON journal;
CREATE TRIGGER journal_append_only BEFORE UPDATE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE journal ENABLE ALWAYS TRIGGER journal_append_only;

CREATE FUNCTION guard_journal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM archives a WHERE a.run_id = OLD.run_id AND a.seq >= OLD.seq) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'table journal is append-only: % of an event that is not archived refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER journal_kept BEFORE DELETE ON journal FOR EACH ROW EXECUTE FUNCTION guard_journal();
ALTER TABLE journal ENABLE ALWAYS TRIGGER journal_kept;

-- As 0012 has it, and: payloads may go in the transaction that archives a run.
CREATE OR REPLACE FUNCTION guard_payloads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.erased_run IS NULL AND NEW.digest = OLD.digest AND NEW.media_type = OLD.media_type
       AND NEW.size = 0 AND octet_length(NEW.body) = 0
       AND EXISTS (SELECT 1 FROM journal j
                    WHERE j.run_id = NEW.erased_run AND j.seq = NEW.erased_seq AND j.type = 'run.erased'
                      AND position('"sha256:' || encode(OLD.digest, 'hex') || '"' IN convert_from(j.canonical, 'UTF8')) > 0)
    THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM archives a
                                     WHERE a.run_id = current_setting('interlock.archiving', true)
                                       AND a.xmin = pg_current_xact_id()::xid)
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'table payloads is append-only, but for erasures and archives: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

-- One run into the archive: all of it, or nothing. False when the run is not as it was when its bundle was made. The row
-- in `runs` remains, with seq 0: whoever still holds the run in memory cannot add to it.
CREATE FUNCTION archive_run(
    run text, run_seq bigint, run_head bytea, run_bundle bytea, run_place text, subject text, alone bytea[]
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE runs SET seq = 0 WHERE id = run AND seq = run_seq AND head_hash = run_head AND NOT needs_driver;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO archives (run_id, seq, head, bundle, place, by)
    VALUES (run, run_seq, run_head, run_bundle, run_place, subject);
    PERFORM set_config('interlock.archiving', run, true);
    DELETE FROM payloads WHERE digest = ANY (alone);
    DELETE FROM journal WHERE run_id = run;
    DELETE FROM approvals WHERE run_id = run;
    RETURN true;
END
$$;
