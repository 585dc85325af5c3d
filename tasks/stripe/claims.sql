-- The one claim protocol: the live webhook endpoint, the replay and Stripe's own retries all go through it.
-- {events} and {effects} are the tables, {e.…} and {f.…} their columns, as the AppDatabase block maps them.

-- name: keep
-- Make events durable. One that is known already stays as it is.
INSERT INTO {events} ({e.account}, {e.event_id}, {e.type}, {e.object_id}, {e.created}, {e.api_version}, {e.livemode},
                      {e.payload}, {e.status}, {e.attempts}, {e.source}, {e.run_id}, {e.received_at})
SELECT account, event_id, type, object_id, to_timestamp(created), api_version, livemode, payload::jsonb, 'received', 0,
       %(source)s, %(run_id)s, now()
  FROM unnest(%(accounts)s::text[], %(ids)s::text[], %(types)s::text[], %(objects)s::text[], %(created)s::float8[],
              %(versions)s::text[], %(livemodes)s::boolean[], %(payloads)s::text[])
       AS new (account, event_id, type, object_id, created, api_version, livemode, payload)
 ORDER BY account, event_id
ON CONFLICT DO NOTHING
RETURNING {e.event_id}

-- name: claim
-- Take events that nobody has done and nobody holds. Who gets no row back must not touch that event. When it is to be
-- tried next does not bind here: Stripe's own retry may come sooner, and is welcome; the replay waits before it asks.
UPDATE {events} SET {e.status} = 'processing', {e.attempts} = {e.attempts} + 1, {e.claimed_by} = %(by)s,
       {e.lease_until} = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
 WHERE ({e.account}, {e.event_id}) IN (
       SELECT {e.account}, {e.event_id} FROM {events}
        WHERE {e.account} = %(account)s AND {e.event_id} = ANY(%(ids)s)
          AND {e.status} IN ('received', 'retry', 'processing')
          AND coalesce({e.lease_until}, '-infinity') <= clock_timestamp()
        ORDER BY {e.account}, {e.event_id} FOR UPDATE)
RETURNING {e.event_id} AS event_id, {e.attempts} AS attempts, clock_timestamp() AS at

-- name: serialise
-- One at a time for each object, until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended(%(object_id)s, 0))

-- name: effect
-- Enter an effect; a row comes back only the first time. What the application hangs on this row (a trigger, a mailer
-- that reads the table) happens exactly as often as the row is there: once.
INSERT INTO {effects} ({f.account}, {f.event_id}, {f.handler}, {f.done_at}, {f.note})
VALUES (%(account)s, %(event_id)s, %(handler)s, now(), %(note)s)
ON CONFLICT DO NOTHING
RETURNING {f.handler}

-- name: settle
-- Say what became of claimed events; the lease ends with it. Who gets no row back has lost his claim, because his lease
-- was over and somebody else holds it: he rolls back what he did.
UPDATE {events} SET {e.status} = %(status)s, {e.lease_until} = NULL, {e.next_attempt_at} = NULL, {e.error} = %(error)s,
       {e.error_class} = %(error_class)s, {e.processed_at} = now(), {e.run_id} = coalesce(%(run_id)s, {e.run_id})
 WHERE {e.account} = %(account)s AND {e.event_id} = ANY(%(ids)s) AND {e.status} = 'processing'
   AND {e.claimed_by} = %(by)s
RETURNING {e.event_id} AS event_id

-- name: fail
-- Keep the error of events that could not be done, and when they are tried again; past the last attempt they are dead.
-- Only what nobody has done meanwhile, and nobody else holds.
UPDATE {events} SET {e.status} = CASE WHEN {e.attempts} + %(burnt)s >= %(limit)s THEN 'dead' ELSE 'retry' END,
       {e.attempts} = {e.attempts} + %(burnt)s, {e.lease_until} = NULL, {e.error} = %(error)s,
       {e.error_class} = %(error_class)s, {e.run_id} = coalesce(%(run_id)s, {e.run_id}),
       {e.next_attempt_at} = clock_timestamp() + make_interval(secs => %(pause)s)
 WHERE {e.account} = %(account)s AND {e.event_id} = ANY(%(ids)s)
   AND ({e.status} IN ('received', 'retry') OR ({e.status} = 'processing' AND
        ({e.claimed_by} = %(by)s OR coalesce({e.lease_until}, '-infinity') <= clock_timestamp())))
RETURNING {e.status} AS status

-- name: standing
-- What the ledger says of events: the anti-join of what Stripe has with what we have.
SELECT {e.event_id} AS event_id, {e.status} AS status, {e.attempts} AS attempts, left({e.error}, 200) AS error,
       {e.status} = 'processing' AND {e.lease_until} > clock_timestamp() AS held,
       greatest(0, extract(epoch FROM {e.next_attempt_at} - clock_timestamp()))::float AS due_in
  FROM {events} JOIN unnest(%(ids)s::text[]) AS asked (id) ON {e.event_id} = asked.id
 WHERE {e.account} = %(account)s

-- name: unfinished
-- Our own rows that nobody has done, of any age.
SELECT {e.account} AS account, {e.event_id} AS event_id, {e.type} AS type, {e.object_id} AS object_id,
       extract(epoch FROM {e.created})::float AS created, {e.api_version} AS api_version, {e.livemode} AS livemode,
       {e.payload}::text AS payload, {e.status} AS status, {e.attempts} AS attempts
  FROM {events}
 WHERE {e.status} IN ('received', 'retry', 'processing') AND {e.created} < to_timestamp(%(until)s)
   AND {e.account} = ANY(%(accounts)s) AND (cardinality(%(types)s::text[]) = 0 OR {e.type} = ANY(%(types)s))
 LIMIT %(limit)s

-- name: dead
-- The dead letters that are meant.
SELECT {e.account} AS account, {e.event_id} AS event_id, {e.type} AS type, {e.attempts} AS attempts,
       {e.error_class} AS error_class, {e.error} AS error, {e.object_id} AS object_id
  FROM {events}
 WHERE {e.status} = ANY(%(statuses)s)
   AND (cardinality(%(ids)s::text[]) = 0 OR {e.event_id} = ANY(%(ids)s))
   AND (cardinality(%(types)s::text[]) = 0 OR {e.type} = ANY(%(types)s))
   AND (cardinality(%(classes)s::text[]) = 0 OR {e.error_class} = ANY(%(classes)s))
 ORDER BY {e.created}, {e.event_id} LIMIT %(limit)s

-- name: requeue
-- Give dead letters all their attempts again.
UPDATE {events} SET {e.status} = 'retry', {e.attempts} = 0, {e.lease_until} = NULL, {e.next_attempt_at} = NULL,
       {e.run_id} = %(run_id)s
 WHERE ({e.account}, {e.event_id}) IN (SELECT * FROM unnest(%(accounts)s::text[], %(ids)s::text[]))
   AND {e.status} IN ('dead', 'skipped')
RETURNING {e.event_id}

-- name: clock
-- The database's own clock: whoever looks at Stripe, wherever, notes this time.
SELECT clock_timestamp() AS at

-- name: done_effects
-- How many effects the events have, and how many events have one twice (never: it is the key).
SELECT count(*)::int AS effects FROM {effects} WHERE {f.account} = %(account)s AND {f.event_id} = ANY(%(ids)s)

-- name: project
-- Write the state of an object, unless the row is of a later look or has come to its end.
INSERT INTO {t} AS t ({names}) VALUES ({marks})
ON CONFLICT ({c.id}) DO UPDATE SET {sets}, {c.deleted_at} = NULL
 WHERE t.{c.observed_at} <= excluded.{c.observed_at} AND ({guard})

-- name: bury
-- Put a tombstone on a row; an older look does not.
UPDATE {t} SET {c.deleted_at} = coalesce({c.deleted_at}, %(at)s), {c.observed_at} = %(at)s
 WHERE {c.id} = %(id)s AND {c.observed_at} <= %(at)s

-- name: linked
-- The invoices that payments of ours are known to pay.
SELECT {c.id} AS id, {c.invoice_id} AS invoice FROM {t} WHERE {c.id} = ANY(%(ids)s) AND {c.invoice_id} IS NOT NULL

-- name: of_other_mode
-- Whether there are rows, and none of them is of our mode: then it is the wrong database. Ends at the first of ours.
SELECT EXISTS (SELECT FROM {t}) AND NOT EXISTS (SELECT FROM {t} WHERE {c.livemode} = %(ours)s)
