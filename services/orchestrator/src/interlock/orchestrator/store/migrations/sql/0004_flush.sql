-- The whole function anew, as every migration that changes it has it: a migration is history and is never edited, so
-- what 0001_flush.sql made stays there as it was. `diff` of the two files shows what this one changes.
--
-- One call commits one batch of appends of many runs. It is one function, called with one message, for two
-- reasons: a flush costs one round trip, and a caller that is paused can never hold the sequencer's lock.
--
-- Arrays with the same prefix are parallel: a_ one entry per append, e_ per event, p_ per payload, q_ per
-- request record; *_append is the 1-based number of the append it belongs to. Appends that touch the same run,
-- request id or workspace have different ranks (1, 2, …); a higher rank sees what a lower one has written.
-- `extras` holds what is rare: {"runs": [...], "approvals": [...], "workspaces": [...]}.
--
-- Verdicts: 0 written, 1 request id known, 2 no such run, 3 seq moved, 4 epoch moved, 5 run exists,
-- 6 no such workspace, 7 workspace held by another run or another run's turn, 8 workspace head moved.
-- A workspace is taken in the order of the feed by those who wait for it; who does not wait comes after them.
-- seqs, epochs: of the run now (epoch 0 for a written append: the caller holds no lease).
-- starts: feed position before the append's first event.
CREATE OR REPLACE FUNCTION journal_flush(
    a_rank int[], a_run text[], a_create boolean[], a_expected bigint[], a_epoch bigint[], a_seq bigint[],
    a_hash bytea[], a_state text[], a_steps int[], a_done int[], a_cost bigint[], a_driver boolean[],
    a_take text[], a_at timestamptz[],
    e_append int[], e_run text[], e_seq bigint[], e_type text[], e_step int[], e_at timestamptz[],
    e_body bytea[], e_hash bytea[],
    p_append int[], p_digest bytea[], p_media text[], p_body bytea[],
    q_append int[], q_method text[], q_id text[], q_fingerprint bytea[], q_response bytea[],
    extras jsonb,
    OUT verdicts smallint[], OUT seqs bigint[], OUT epochs bigint[], OUT starts bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    base bigint;
    reserved bigint;
    gates smallint[];
    found_codes int[];
BEGIN
    -- The sequencer's lock comes first and is held to the commit: positions follow commit order.
    -- Every statement below sees all that earlier flushes have committed.
    UPDATE feed SET position = position + cardinality(e_append) WHERE id = 1 RETURNING position INTO reserved;
    base := reserved - cardinality(e_append);
    PERFORM 1 FROM runs r WHERE r.id = ANY (a_run) ORDER BY r.id FOR UPDATE;

    FOR k IN 1 .. (SELECT max(x) FROM unnest(a_rank) x) LOOP
        gates := NULL;
        IF extras IS NOT NULL OR cardinality(q_append) > 0 THEN
            gates := array_fill(NULL::smallint, ARRAY[cardinality(a_run)]);
            SELECT array_agg(w.append * 16 + CASE
                       WHEN x.id IS NULL AND w.fresh IS NULL THEN 6
                       WHEN w.hold = 'take' AND (x.holder_run <> a_run[w.append] OR w.behind) THEN 7
                       ELSE 8 END)
              INTO found_codes
              FROM (SELECT r.*, r.hold = 'take' AND EXISTS (
                               SELECT 1 FROM waiters q
                                WHERE q.workspace_id = r.id AND q.run_id <> a_run[r.append]
                                  AND q.number < coalesce((SELECT m.number FROM waiters m
                                                            WHERE m.run_id = a_run[r.append]), q.number + 1)
                           ) AS behind
                      FROM jsonb_to_recordset(extras -> 'workspaces')
                           AS r(append int, id text, hold text, head_from text, head_to text, fresh jsonb)
                     WHERE a_rank[r.append] = k) AS w
              LEFT JOIN workspaces x ON x.id = w.id
             WHERE a_rank[w.append] = k
               AND ((x.id IS NULL AND w.fresh IS NULL)
                    OR (w.hold = 'take' AND (x.holder_run <> a_run[w.append] OR w.behind))
                    OR (w.head_from IS NOT NULL AND x.head_tree <> w.head_from));
            FOR n IN 1 .. coalesce(cardinality(found_codes), 0) LOOP
                gates[found_codes[n] / 16] := found_codes[n] % 16;
            END LOOP;
            SELECT array_agg(q.append) INTO found_codes
              FROM unnest(q_append, q_method, q_id) AS q(append, method, id)
              JOIN requests x ON x.method = q.method AND x.request_id = q.id
             WHERE a_rank[q.append] = k;
            FOR n IN 1 .. coalesce(cardinality(found_codes), 0) LOOP
                gates[found_codes[n]] := 1;
            END LOOP;
        END IF;

        SELECT array_agg(v.verdict ORDER BY v.i), array_agg(v.seq ORDER BY v.i), array_agg(v.epoch ORDER BY v.i),
               array_agg(v.start ORDER BY v.i), base + sum(v.added)::bigint
          INTO verdicts, seqs, epochs, starts, base
          FROM (
            SELECT u.i, u.verdict, u.added,
                   CASE WHEN u.rank <> k THEN seqs[u.i] WHEN u.verdict = 0 THEN u.new_seq
                        ELSE coalesce(u.old_seq, 0) END AS seq,
                   CASE WHEN u.rank <> k THEN epochs[u.i] WHEN u.verdict <> 0 THEN coalesce(u.old_epoch, 0)
                        WHEN u.take IS NULL OR NOT u.driver THEN 0
                        WHEN u.owner IS NULL THEN coalesce(u.old_epoch, 0) + 1
                        WHEN u.owner = u.take THEN u.old_epoch ELSE 0 END AS epoch,
                   CASE WHEN u.rank <> k THEN starts[u.i]
                        ELSE base + (sum(u.added) OVER (ORDER BY u.i) - u.added)::bigint END AS start
              FROM (
                SELECT t.*, CASE WHEN t.rank = k AND t.verdict = 0 THEN t.new_seq - t.expected ELSE 0 END AS added
                  FROM (
                    SELECT a.i, a.rank, a.expected, a.new_seq, a.take, a.driver,
                           r.seq AS old_seq, r.epoch AS old_epoch, r.lease_owner AS owner,
                           CASE WHEN a.rank <> k THEN verdicts[a.i]
                                WHEN gates[a.i] IS NOT NULL THEN gates[a.i]
                                WHEN a.fresh THEN CASE WHEN r.id IS NULL THEN 0 ELSE 5 END
                                WHEN r.id IS NULL THEN 2
                                WHEN r.epoch <> a.epoch THEN 4
                                WHEN r.seq <> a.expected THEN 3
                                ELSE 0 END::smallint AS verdict
                      FROM unnest(a_rank, a_run, a_create, a_expected, a_epoch, a_seq, a_take, a_driver)
                           WITH ORDINALITY AS a(rank, run, fresh, expected, epoch, new_seq, take, driver, i)
                      LEFT JOIN runs r ON r.id = a.run
                  ) t
              ) u
          ) v;

        UPDATE runs r
           SET seq = a.seq, head_hash = a.hash, position = starts[a.i] + a.seq - a.expected, state = a.state,
               steps = a.steps, steps_done = a.done, cost_micros = a.cost, needs_driver = a.driver,
               updated_at = a.at, epoch = CASE WHEN epochs[a.i] > 0 THEN epochs[a.i] ELSE r.epoch END,
               -- A run that needs no driver has none, so that whoever wakes it later may drive it.
               lease_owner = CASE WHEN a.driver THEN coalesce(r.lease_owner, a.take) END
          FROM unnest(a_rank, a_run, a_create, a_expected, a_seq, a_hash, a_state, a_steps, a_done, a_cost,
                      a_driver, a_take, a_at)
               WITH ORDINALITY AS a(rank, run, fresh, expected, seq, hash, state, steps, done, cost, driver,
                                    take, at, i)
         WHERE r.id = a.run AND a.rank = k AND NOT a.fresh AND verdicts[a.i] = 0;

        IF extras IS NOT NULL THEN
            INSERT INTO runs (id, state, workspace_id, goal, labels, doc, created_at, updated_at, seq, head_hash,
                              position, epoch, lease_owner, needs_driver, steps, steps_done, cost_micros)
            SELECT a.run, a.state, n.workspace_id, n.goal, n.labels, n.doc, a.at, a.at, a.seq, a.hash,
                   starts[a.i] + a.seq - a.expected, epochs[a.i], CASE WHEN a.driver THEN a.take END,
                   a.driver, a.steps, a.done, a.cost
              FROM jsonb_to_recordset(extras -> 'runs')
                   AS n(append int, workspace_id text, goal text, labels jsonb, doc jsonb)
              JOIN unnest(a_rank, a_run, a_expected, a_seq, a_hash, a_state, a_steps, a_done, a_cost, a_driver,
                          a_take, a_at)
                   WITH ORDINALITY AS a(rank, run, expected, seq, hash, state, steps, done, cost, driver, take,
                                        at, i) ON a.i = n.append
             WHERE a.rank = k AND verdicts[a.i] = 0;

            INSERT INTO approvals (id, run_id, step, attempt, gate, digest, state, requested_at, expires_at,
                                   resolved_at, subject, doc)
            SELECT p.id, a_run[p.append], p.step, p.attempt, p.gate, p.digest, p.state, p.requested_at,
                   p.expires_at, p.resolved_at, p.subject, p.doc
              FROM jsonb_to_recordset(extras -> 'approvals')
                   AS p(append int, id text, step int, attempt int, gate text, digest text, state text,
                        requested_at timestamptz, expires_at timestamptz, resolved_at timestamptz,
                        subject text, doc jsonb)
             WHERE a_rank[p.append] = k AND verdicts[p.append] = 0
                ON CONFLICT (id) DO UPDATE
               SET state = excluded.state, expires_at = excluded.expires_at,
                   resolved_at = excluded.resolved_at, subject = excluded.subject, doc = excluded.doc;

            INSERT INTO workspaces AS x (id, executor, location, head_tree, holder_run, doc)
            SELECT w.id, coalesce(w.fresh ->> 'executor', ''), coalesce(w.fresh ->> 'location', ''),
                   coalesce(w.head_to, w.fresh ->> 'head_tree', ''),
                   CASE WHEN w.hold = 'take' THEN a_run[w.append] END, coalesce(w.fresh -> 'doc', '{}')
              FROM jsonb_to_recordset(extras -> 'workspaces')
                   AS w(append int, id text, hold text, head_from text, head_to text, fresh jsonb)
             WHERE a_rank[w.append] = k AND verdicts[w.append] = 0 AND w.fresh IS NOT NULL
                ON CONFLICT (id) DO NOTHING;
            UPDATE workspaces x
               SET holder_run = CASE WHEN w.hold = 'take' THEN a_run[w.append]
                                     WHEN w.hold = 'release' AND x.holder_run = a_run[w.append] THEN NULL
                                     ELSE x.holder_run END,
                   head_tree = coalesce(w.head_to, x.head_tree)
              FROM jsonb_to_recordset(extras -> 'workspaces')
                   AS w(append int, id text, hold text, head_from text, head_to text, fresh jsonb)
             WHERE x.id = w.id AND a_rank[w.append] = k AND verdicts[w.append] = 0;

            INSERT INTO waiters (run_id, workspace_id, number)
            SELECT a_run[w.append], w.id, starts[w.append] + 1
              FROM jsonb_to_recordset(extras -> 'workspaces') AS w(append int, id text, hold text)
             WHERE a_rank[w.append] = k AND verdicts[w.append] = 0 AND w.hold = 'wait'
                ON CONFLICT (run_id) DO NOTHING;
            DELETE FROM waiters q
             USING jsonb_to_recordset(extras -> 'workspaces') AS w(append int, id text, hold text)
             WHERE q.run_id = a_run[w.append] AND w.hold IN ('take', 'release')
               AND a_rank[w.append] = k AND verdicts[w.append] = 0;
        END IF;

        IF cardinality(q_append) > 0 THEN
            INSERT INTO requests (method, request_id, fingerprint, response)
            SELECT q.method, q.id, q.fingerprint, q.response
              FROM unnest(q_append, q_method, q_id, q_fingerprint, q_response)
                   AS q(append, method, id, fingerprint, response)
             WHERE a_rank[q.append] = k AND verdicts[q.append] = 0;
        END IF;
    END LOOP;

    INSERT INTO journal (run_id, seq, position, type, step, at, canonical, hash)
    SELECT e.run, e.seq, starts[e.append] + e.seq - a_expected[e.append], e.type, e.step, e.at, e.body, e.hash
      FROM unnest(e_append, e_run, e_seq, e_type, e_step, e_at, e_body, e_hash)
           AS e(append, run, seq, type, step, at, body, hash)
     WHERE verdicts[e.append] = 0;

    IF cardinality(p_append) > 0 THEN
        INSERT INTO payloads (digest, media_type, size, body)
        SELECT p.digest, p.media, length(p.body), p.body
          FROM unnest(p_append, p_digest, p_media, p_body) AS p(append, digest, media, body)
         WHERE verdicts[p.append] = 0
            ON CONFLICT (digest) DO NOTHING;
    END IF;

    IF base <> reserved THEN  -- somebody lost: give the unused positions back, so that there are no gaps
        UPDATE feed SET position = base WHERE id = 1;
    END IF;
END
$$;
