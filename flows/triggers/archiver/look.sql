-- name: look
-- What the archiver asks every node, every two seconds: one row, no lock, nothing written.
SELECT NOT pg_is_in_recovery() AS primary,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       CASE WHEN pg_is_in_recovery() THEN 0
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END AS timeline,
       (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')
             ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint AS written,
       coalesce(current_setting('max_slot_wal_keep_size', true), '-1') <> '-1' AS bounded,
       (SELECT jsonb_build_object(
                   'lost', coalesce(wal_status, '') = 'lost',
                   'kept_from', (coalesce(restart_lsn, '0/0') - '0/0')::bigint,
                   'flushed', (SELECT (coalesce(flush_lsn, '0/0') - '0/0')::bigint
                                 FROM pg_stat_replication WHERE pid = active_pid))
          FROM pg_replication_slots WHERE slot_name = %(slot)s) AS slot

-- name: spare
-- A slot does not survive a promotion, but a standby may have one of its own: it keeps what the archive does not have.
SELECT pg_replication_slot_advance(slot_name, %(lsn)s)
  FROM pg_replication_slots
 WHERE slot_name = %(slot)s AND NOT active AND restart_lsn < least(%(lsn)s, pg_last_wal_replay_lsn())
