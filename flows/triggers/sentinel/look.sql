-- name: look
-- What the sentinel asks every node, every half second: one row, no lock, nothing written.
-- A primary's timeline is in the name of its WAL file; pg_control_checkpoint() lags behind a promotion.
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       CASE WHEN pg_is_in_recovery()
            THEN greatest((SELECT received_tli FROM pg_stat_wal_receiver),
                          (SELECT timeline_id FROM pg_control_checkpoint()))
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
       (CASE WHEN pg_is_in_recovery()
             THEN coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')
             ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint AS lsn,
       current_setting('synchronous_standby_names') AS synchronous_standby_names,
       (SELECT coalesce(jsonb_agg(application_name ORDER BY application_name), '[]')
          FROM pg_stat_replication WHERE state = 'streaming') AS streaming,
       (SELECT jsonb_build_object(
                   'status', coalesce(status, 'hidden'),
                   'silence_seconds', coalesce(extract(epoch FROM clock_timestamp() - last_msg_receipt_time), 0),
                   'ping_seconds', (SELECT CASE setting::int WHEN 0 THEN 1e9 ELSE setting::float / 2000 END
                                      FROM pg_settings WHERE name = 'wal_receiver_timeout'),
                   'upstream', coalesce(sender_host || ':' || sender_port, ''),
                   'slot', coalesce(slot_name, ''))
          FROM pg_stat_wal_receiver) AS receiver
