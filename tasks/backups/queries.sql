-- name: place
-- What backups need to know of a server.
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       current_setting('server_version_num')::int / 10000 AS major,
       CASE WHEN pg_is_in_recovery()
            THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver),
                          (SELECT timeline_id FROM pg_control_checkpoint()))
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END AS timeline,
       (CASE WHEN pg_is_in_recovery()
             THEN greatest(pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn())
             ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint AS lsn,
       coalesce(current_setting('summarize_wal', true), 'off') = 'on' AS summaries

-- name: size
-- About what a full backup copies.
SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint AS bytes FROM pg_database WHERE datallowconn

-- name: databases
-- Where an application may keep rows.
SELECT datname AS name FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1

-- name: tables
-- Whose rows are counted.
SELECT n.nspname AS schema, c.relname AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (c.relkind = 'r' AND c.relpersistence = 'p' AND NOT c.relispartition OR c.relkind = 'p')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
 ORDER BY 1, 2

-- name: slot
-- Keep WAL for the repository from now on; a slot does not survive a restore or a promotion.
SELECT pg_create_physical_replication_slot(%(slot)s, true)
 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %(slot)s)

-- name: unlost
-- A slot that PostgreSQL has given up keeps nothing any more, and stands in the way of one that does.
SELECT pg_drop_replication_slot(slot_name)
  FROM pg_replication_slots WHERE slot_name = %(slot)s AND wal_status = 'lost' AND NOT active

-- name: streaming
-- Whether WAL streams into the repository, and how far it is there on disk.
SELECT (coalesce(flush_lsn, '0/0') - '0/0')::bigint AS flushed, (pg_current_wal_flush_lsn() - '0/0')::bigint AS written
  FROM pg_stat_replication
 WHERE pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = %(slot)s)

-- name: recovered
-- What a restored server says of itself.
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int AS timeline,
       current_setting('archive_mode') <> 'off' AS archiving

-- name: newest
-- When the application committed its last row, as its own rows say.
WITH activity AS ({activity_sql}) SELECT max(at) AS at FROM activity

-- name: copied
-- How far a base backup is; both are NULL before the size is known.
SELECT backup_streamed AS done, backup_total AS whole FROM pg_stat_progress_basebackup ORDER BY pid DESC LIMIT 1

-- name: point
-- Name this place in the WAL; the facts of a set belong to it.
SELECT (pg_create_restore_point(%(name)s) - '0/0')::bigint AS lsn

-- name: checksums
-- Without them nobody sees a page that a disk has changed.
SELECT current_setting('data_checksums') = 'on' AS present
