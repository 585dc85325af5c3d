-- name: observe_node
-- One row that says everything a decision needs to know of one server. The timeline of a primary comes from the name
-- of its WAL file, because pg_control_checkpoint() stays behind until the first checkpoint after a promotion; so does
-- that of a standby which receives nothing any more. One that was rewound knows it from the end of its recovery. How far
-- a standby can come is what it has received; but one that waits for WAL although it has received some cannot apply
-- that, as one that wrote by itself cannot.
WITH last_byte AS (
    SELECT (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/1')::bigint AS at,
           pg_size_bytes(current_setting('wal_segment_size')) AS segment
)
SELECT pg_is_in_recovery() AS in_recovery,
       current_setting('server_version_num')::int AS version,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       CASE WHEN pg_is_in_recovery()
            THEN greatest((SELECT received_tli FROM pg_stat_wal_receiver),
                          (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                          (SELECT timeline_id FROM pg_control_checkpoint()),
                          (SELECT max(('x' || left(name, 8))::bit(32)::int) FROM pg_ls_waldir(), last_byte
                            WHERE right(name, 16) = upper(lpad(to_hex(at >> 32), 8, '0')
                                                    || lpad(to_hex((at & x'ffffffff'::bigint) / segment), 8, '0'))))
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
       (CASE WHEN pg_is_in_recovery()
             THEN coalesce(CASE WHEN (SELECT bool_or(wait_event IN ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval'))
                                        FROM pg_stat_activity WHERE backend_type = 'startup')
                                THEN pg_last_wal_replay_lsn()
                                ELSE greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END, '0/0')
             ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint AS lsn,
       (coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() END, '0/0') - '0/0')::bigint AS received_lsn,
       (coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END, '0/0')
             - '0/0')::bigint AS replayed_lsn,
       (SELECT jsonb_build_object(
                   'status', coalesce(status, 'hidden'),
                   'silence_seconds', coalesce(extract(epoch FROM clock_timestamp() - last_msg_receipt_time), 1e9),
                   -- A receiver without a timeout never pings, so its silence says nothing.
                   'ping_seconds', (SELECT coalesce(nullif(setting::float, 0) / 2000, 1e9)
                                      FROM pg_settings WHERE name = 'wal_receiver_timeout'),
                   'upstream', coalesce(sender_host || ':' || sender_port, ''),
                   'slot', coalesce(slot_name, ''))
          FROM pg_stat_wal_receiver WHERE pid IS NOT NULL) AS receiver,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'name', application_name, 'state', state, 'sync', sync_state,
                   'lag_bytes', coalesce((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                                               ELSE pg_current_wal_flush_lsn() END - flush_lsn)::bigint, 0))), '[]')
          FROM pg_stat_replication) AS senders,
       (SELECT coalesce(jsonb_agg(slot_name ORDER BY slot_name), '[]')
          FROM pg_replication_slots WHERE slot_type = 'physical') AS slots,
       (SELECT coalesce(jsonb_agg(slot_name ORDER BY slot_name), '[]')
          FROM pg_replication_slots WHERE slot_type = 'logical') AS logical_slots,
       current_setting('synchronous_standby_names') AS synchronous_standby_names,
       current_setting('primary_conninfo') <> '' AS primary_conninfo_set,
       has_function_privilege('pg_promote(boolean, integer)', 'execute') AS may_promote,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() <> 'not paused' ELSE false END AS replay_paused,
       current_setting('wal_log_hints') = 'on' OR current_setting('data_checksums') = 'on' AS rewindable,
       (SELECT count(*)::int FROM pg_prepared_xacts) AS prepared_transactions,
       (SELECT coalesce(jsonb_agg(DISTINCT manager), '[]')
          FROM (SELECT CASE WHEN application_name ILIKE 'patroni%' THEN 'patroni'
                            WHEN application_name ILIKE 'repmgr%' THEN 'repmgr'
                            WHEN application_name ~* '^pg_?auto_?(failover|ctl)' THEN 'pg_auto_failover'
                            WHEN application_name ILIKE 'cnpg%' THEN 'CloudNativePG' END AS manager
                  FROM pg_stat_activity) AS session WHERE manager IS NOT NULL) AS managers

-- name: stop_receiving
-- Leave the upstream, by reload, so that it can get no acknowledgement from here any more.
ALTER SYSTEM SET primary_conninfo = ''

-- name: receivers
-- How many WAL receivers run (0 or 1).
SELECT count(*) AS receivers FROM pg_stat_wal_receiver

-- name: promote
-- Become primary. Not waiting inside: pg_promote looks only every 100 ms.
SELECT pg_promote(false)

-- name: recovery
-- Whether the server is still a standby, how far it has come, and whether it waits for more.
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT coalesce(bool_or(wait_event IN ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval')), false)
          FROM pg_stat_activity WHERE backend_type = 'startup') AS waits_for_wal,
       (coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END, '0/0')
             - '0/0')::bigint AS replayed_lsn,
       (coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() END, '0/0') - '0/0')::bigint AS received_lsn

-- name: activity
-- The longest time without a row of the application around the move, and when the last row was committed.
WITH activity AS ({activity_sql}),
     gaps AS (SELECT at, at - lag(at) OVER (ORDER BY at) AS gap FROM activity WHERE at > {since}::timestamptz)
SELECT (SELECT max(at) FROM activity) AS newest,
       coalesce((SELECT extract(epoch FROM max(gap))::float FROM gaps), 0) AS longest_gap_seconds

-- name: create_slot
-- Keep WAL for a standby from now on; slots do not survive a promotion. The name is the node's.
SELECT pg_create_physical_replication_slot(%(slot)s, true)
 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %(slot)s)

-- name: streaming
-- Which standbys stream from here, and how far they have it.
SELECT application_name AS name, (coalesce(flush_lsn, '0/0') - '0/0')::bigint AS flushed_lsn
  FROM pg_stat_replication WHERE state = 'streaming'

-- name: synchronous
-- Which standbys must have a commit before it is acknowledged.
SELECT current_setting('synchronous_standby_names') AS rule
