-- A shop of {users} users and as many subscriptions, with five payments and five jobs for each user. One user in
-- {every} is lost, so that as many payments and jobs belong to nobody; one in {every} has another status than its
-- subscription; one job in {every} hangs.

CREATE TABLE users (
    id bigint PRIMARY KEY,
    email text NOT NULL,
    subscription_id text,
    subscription_status text,
    seen_at timestamptz,
    updated_at timestamptz NOT NULL
);
INSERT INTO users SELECT n, 'user' || n || '@shop.example', 'sub_' || md5(n::text),
    CASE WHEN n % {every} = 7 THEN 'past_due' ELSE 'active' END, NULL, now() - interval '2 days'
FROM generate_series(1, {users}) n WHERE n % {every} <> 3;

CREATE TABLE subscriptions (
    id text PRIMARY KEY,
    status text NOT NULL,
    price_id text NOT NULL,
    seen_at timestamptz
);
INSERT INTO subscriptions SELECT 'sub_' || md5(n::text), 'active', 'price_' || n % 7, NULL
FROM generate_series(1, {users}) n;

CREATE TABLE payments (
    id bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    amount bigint NOT NULL,
    status text NOT NULL,
    note text,
    created_at timestamptz NOT NULL
);
INSERT INTO payments SELECT n, 1 + (n * 7919 + 11) % {users}, 100 + n % 9900, 'succeeded',
    CASE WHEN n % 10 = 0 THEN 'gift' END, now() - n % 1000 * interval '1 hour'
FROM generate_series(1, {users}::bigint * 5) n;

CREATE TABLE ai_analysis_jobs (
    id bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    status text NOT NULL,
    attempts int NOT NULL,
    error_message text,
    created_at timestamptz NOT NULL
);
INSERT INTO ai_analysis_jobs SELECT n, 1 + (n * 104729 + 5) % {users},
    CASE WHEN n % {every} = 9 THEN 'processing' ELSE 'done' END, 0, NULL, now() - n % 1000 * interval '1 hour'
FROM generate_series(1, {users}::bigint * 5) n;

CREATE INDEX payments_user ON payments (user_id);
CREATE INDEX ai_analysis_jobs_user ON ai_analysis_jobs (user_id);
CREATE INDEX ai_analysis_jobs_open ON ai_analysis_jobs (created_at) WHERE status = 'processing';
