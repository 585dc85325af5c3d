-- {n} users are lost (e.g. {first}), as after a restore: their jobs, sessions and credits belong to nobody.
DELETE FROM users WHERE id IN (SELECT id FROM users ORDER BY md5(id || %(salt)s) LIMIT 3) RETURNING id

-- {n} users have registered again, and are now the Stripe customer of an older user as well.
INSERT INTO users (email, tier, stripe_customer_id, updated_at)
SELECT 'again-' || email, tier, stripe_customer_id, now() - interval '1 day' FROM users
WHERE stripe_customer_id IS NOT NULL AND email <> '' ORDER BY md5(id || %(salt)s) LIMIT 5 RETURNING id

-- {n} users have no e-mail address.
UPDATE users SET email = ''
WHERE id IN (SELECT id FROM users ORDER BY md5(id || %(salt)s) DESC LIMIT 4) RETURNING id

-- {n} users are `past_due`, though their subscriptions are active: people who pay are locked out.
UPDATE users SET subscription_status = 'past_due', updated_at = now() - interval '1 day'
WHERE id IN (SELECT id FROM users WHERE subscription_status = 'active' ORDER BY md5(id || %(salt)s) LIMIT 12)
RETURNING id

-- {n} users pay and have the tier `free`.
UPDATE users SET tier = 'free'
WHERE id IN (
    SELECT id FROM users WHERE tier <> 'free' AND subscription_status IN ('active', 'trialing')
    ORDER BY md5(id || %(salt)s) LIMIT 6
) RETURNING id

-- {n} scraping jobs were cleaned away while analyses speak of their pages.
DELETE FROM scraping_jobs WHERE id IN (
    SELECT s.id FROM scraping_jobs s JOIN users u ON u.id = s.user_id
    WHERE s.status = 'done' ORDER BY md5(s.id || %(salt)s) LIMIT 7
) RETURNING id

-- {n} AI analysis jobs have hung for 20 minutes, some of them at their last attempt.
UPDATE ai_analysis_jobs SET status = 'processing', attempts = id %% 4, created_at = now() - interval '20 minutes'
WHERE id IN (SELECT id FROM ai_analysis_jobs WHERE status = 'done' ORDER BY md5(id || %(salt)s) LIMIT 20) RETURNING id

-- {n} scraping jobs have hung for 45 minutes.
UPDATE scraping_jobs SET status = 'processing', started_at = now() - interval '45 minutes'
WHERE id IN (SELECT id FROM scraping_jobs WHERE status = 'done' ORDER BY md5(id || %(salt)s) LIMIT 15) RETURNING id

-- {n} sessions have expired, and nobody cleans up.
UPDATE user_sessions SET expires_at = now() - interval '3 days'
WHERE token IN (SELECT token FROM user_sessions ORDER BY md5(token || %(salt)s) LIMIT 200) RETURNING token

-- {n} payments are of customers who are not there.
INSERT INTO payments (
    id, customer_id, status, currency, amount, amount_received, refunded_amount, created_at, livemode
) SELECT 'pi_stray' || md5(%(salt)s || n), 'cus_gone' || n, 'succeeded', 'usd', 4900, 4900, 0, now(), false
FROM generate_series(1, 2) n RETURNING id

-- The balance of user {first} is 7.00 more than the sum of its entries.
UPDATE credit_accounts SET balance = balance + 700
WHERE user_id = (SELECT user_id FROM credit_accounts ORDER BY md5(user_id || %(salt)s) LIMIT 1) RETURNING user_id

-- The sequence of the AI analysis jobs begins again: the next job cannot be entered.
SELECT setval(pg_get_serial_sequence('ai_analysis_jobs', 'id'), 1) WHERE %(salt)s <> ''
