-- name: make
-- What Salvor keeps in the application's database. The way back is where the rows are, in the same transaction.
CREATE SCHEMA IF NOT EXISTS salvor;
CREATE SEQUENCE IF NOT EXISTS salvor.consistency_number;
-- Whoever writes locks this row and shows his token: a run that lost its lease is turned away here, too.
CREATE TABLE IF NOT EXISTS salvor.consistency_tokens (target text PRIMARY KEY, token bigint NOT NULL);
-- Old and new values as PostgreSQL writes them: exact for every type, json too.
CREATE TABLE IF NOT EXISTS salvor.consistency_changes (
    number bigint NOT NULL DEFAULT nextval('salvor.consistency_number') PRIMARY KEY,
    run_id text NOT NULL,
    rule text NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    key text[] NOT NULL,
    columns text[] NOT NULL,
    before text[] NOT NULL,
    after text[] NOT NULL,
    hash_after bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    undone_by text
);
CREATE INDEX IF NOT EXISTS consistency_changes_run ON salvor.consistency_changes (run_id, number);
-- Where the rows of a table go: a table of the same columns.
CREATE TABLE IF NOT EXISTS salvor.consistency_quarantines (
    name text PRIMARY KEY,
    schema_name text NOT NULL,
    table_name text NOT NULL
);
-- How far a run came with a rule; written with each batch.
CREATE TABLE IF NOT EXISTS salvor.consistency_progress (
    run_id text NOT NULL,
    rule text NOT NULL,
    found bigint NOT NULL DEFAULT 0,
    repaired bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    deleted bigint NOT NULL DEFAULT 0,
    meanwhile bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    why text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (run_id, rule)
);
CREATE TABLE IF NOT EXISTS salvor.consistency_fences (
    run_id text NOT NULL,
    rule text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    remove text NOT NULL,
    undone_by text,
    PRIMARY KEY (run_id, name)
);
-- For which run that died a run goes on: an undo gives back what all of them changed.
CREATE TABLE IF NOT EXISTS salvor.consistency_runs (run_id text PRIMARY KEY, goes_on_for text);

-- name: exists
SELECT to_regclass('salvor.consistency_runs') IS NOT NULL

-- name: may
SELECT CASE WHEN to_regclass('salvor.consistency_runs') IS NULL
            THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege('salvor', 'CREATE')
                 AND has_table_privilege('salvor.consistency_changes', 'INSERT')
                 AND has_table_privilege('salvor.consistency_changes', 'UPDATE') END,
       current_database(), current_user

-- name: take
INSERT INTO salvor.consistency_tokens AS t (target, token) VALUES (%(target)s, %(token)s)
ON CONFLICT (target) DO UPDATE SET token = greatest(t.token, excluded.token) RETURNING t.token

-- name: hold
SELECT token FROM salvor.consistency_tokens WHERE target = %(target)s FOR UPDATE

-- name: progress
INSERT INTO salvor.consistency_progress AS p (run_id, rule, found, repaired, quarantined, deleted, meanwhile, skipped, why)
VALUES (%(run_id)s, %(rule)s, %(found)s, %(repaired)s, %(quarantined)s, %(deleted)s, %(meanwhile)s, %(skipped)s, %(why)s)
ON CONFLICT (run_id, rule) DO UPDATE SET
    found = p.found + excluded.found, repaired = p.repaired + excluded.repaired,
    quarantined = p.quarantined + excluded.quarantined, deleted = p.deleted + excluded.deleted,
    meanwhile = p.meanwhile + excluded.meanwhile, skipped = p.skipped + excluded.skipped,
    why = (SELECT coalesce(array_agg(DISTINCT each), '{}') FROM unnest(p.why || excluded.why) each)

-- name: begin
INSERT INTO salvor.consistency_runs (run_id, goes_on_for) VALUES (%(run_id)s, nullif(%(goes_on_for)s, ''))
ON CONFLICT DO NOTHING

-- name: line
-- A run, the run that it went on for, and so on.
WITH RECURSIVE line (run_id) AS (
    SELECT %(run_id)s::text
    UNION SELECT r.goes_on_for FROM salvor.consistency_runs r JOIN line USING (run_id) WHERE r.goes_on_for IS NOT NULL
)
SELECT run_id FROM line

-- name: rules_of
-- Every rule that runs had to do with.
SELECT rule FROM (
    SELECT rule FROM salvor.consistency_progress WHERE run_id = ANY (%(runs)s)
    UNION SELECT rule FROM salvor.consistency_fences WHERE run_id = ANY (%(runs)s)
) each ORDER BY rule

-- name: accounts
SELECT rule, found, repaired, quarantined, deleted, meanwhile, skipped, why
FROM salvor.consistency_progress WHERE run_id = %(run_id)s

-- name: fence
INSERT INTO salvor.consistency_fences (run_id, rule, name, kind, remove)
VALUES (%(run_id)s, %(rule)s, %(name)s, %(kind)s, %(remove)s)
ON CONFLICT (run_id, name) DO UPDATE SET undone_by = NULL

-- name: pressure
-- How far the furthest standby is behind, how much WAL was ever written, how long a session has waited for a lock, and
-- whether archiving fails.
SELECT coalesce((SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)) FROM pg_stat_replication
                 WHERE state IN ('streaming', 'catchup')), 0)::float8 / 1048576,
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 / 1048576,
       coalesce((SELECT max(extract(epoch FROM clock_timestamp() - waitstart)) FROM pg_locks
                 WHERE NOT granted AND waitstart IS NOT NULL), 0)::float8 * 1000,
       coalesce((SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver), false)

-- name: quarantines
SELECT q.name, q.schema_name, q.table_name FROM salvor.consistency_quarantines q
WHERE to_regclass('salvor.' || quote_ident(q.name)) IS NOT NULL ORDER BY q.name

-- name: changed_tables
SELECT DISTINCT schema_name, table_name FROM salvor.consistency_changes WHERE run_id = %(run_id)s

-- name: changes
SELECT number, rule, schema_name, table_name, key, columns, before, coalesce(undone_by, ''), hash_after
FROM salvor.consistency_changes WHERE run_id = ANY (%(runs)s) ORDER BY number DESC

-- name: fences_of
SELECT DISTINCT ON (name) rule, name, kind, remove FROM salvor.consistency_fences
WHERE run_id = ANY (%(runs)s) AND undone_by IS NULL ORDER BY name

-- name: unfenced
UPDATE salvor.consistency_fences SET undone_by = %(by)s WHERE run_id = ANY (%(runs)s) AND name = %(name)s

-- name: undone
UPDATE salvor.consistency_changes SET undone_by = %(by)s WHERE number = ANY (%(numbers)s)
