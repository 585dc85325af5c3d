"""The shop's own rows, beside those of Stripe, and what befalls them: users are lost, work hangs, sums are off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.shop.lab import ShopLab

LAB = Path(__file__).parents[1]
TABLES, FAULTS, PACK = LAB / "shop_data.sql", LAB / "shop_faults.sql", LAB / "packs" / "shop.yaml"
JOBS = 10  #: of each kind and user
#: Nothing of it is wrong: every rule of the pack holds.
FILL = f"""
UPDATE users u SET subscription_id = s.id, subscription_status = s.status, current_period_end = s.current_period_end,
    updated_at = now() - interval '2 days'
FROM (
    SELECT DISTINCT ON (customer_id) * FROM subscriptions
    ORDER BY customer_id, status IN ('active', 'trialing') DESC, id
) s WHERE s.customer_id = u.stripe_customer_id;
SELECT setval(pg_get_serial_sequence('users', 'id'), (SELECT max(id) FROM users));
INSERT INTO user_sessions (token, user_id, created_at, expires_at)
SELECT md5(id::text || n), id, now() - n * interval '1 day', now() + (8 - n) * interval '1 day'
FROM users, generate_series(1, 3) n;
INSERT INTO scraping_jobs (user_id, url, status, created_at, started_at)
SELECT id, 'https://shop.example/' || id || '/' || n, CASE n WHEN 1 THEN 'queued' ELSE 'done' END,
    now() - n * interval '1 hour', CASE n WHEN 1 THEN NULL ELSE now() - n * interval '59 minutes' END
FROM users, generate_series(1, {JOBS}) n;
INSERT INTO ai_analysis_jobs (user_id, status, created_at)
SELECT user_id, status, created_at FROM scraping_jobs ORDER BY id;
INSERT INTO analyses (job_id, scraping_job_id, result)
SELECT j.id, s.id, format('{{"score": %s,  "score": "as it was answered"}}', j.id % 100)::json
FROM ai_analysis_jobs j JOIN scraping_jobs s USING (id) WHERE j.status = 'done';
INSERT INTO credit_entries (user_id, amount) SELECT id, n * 500 FROM users, generate_series(1, 3) n;
INSERT INTO credit_accounts SELECT user_id, sum(amount) FROM credit_entries GROUP BY 1;
"""
WHAT_NOW = """\
What heals it (UI: Deployments, the procedure, Run, Custom run, target `shop-db`):
  1. consistency-check    says which rules are broken, and shows rows of each. It changes nothing.
  2. consistency-repair   as it stands: a dry run. Its table artifact is the plan.
  3. consistency-repair   with dry_run off; you name yourself as requested_by, and where a person must judge the plan
                          it is approved under another name.
  4. consistency-check    again: what is left is what the rules only report.
  consistency-undo gives back what a repair changed: paste the id of its run.
The rules are the block `shop-db` of the type Salvor rule pack; they come from tests/lab/packs/shop.yaml."""


def fill_data(lab: ShopLab) -> None:
    """Fill the shop's own tables."""
    lab.sql(TABLES.read_text())
    lab.sql(FILL)


def break_data(lab: ShopLab, salt: str) -> list[str]:
    """Let all of the faults befall the shop, and say what did."""
    said = []
    for fault in FAULTS.read_text().split("\n\n"):
        sentence, _, statement = fault.partition("\n")
        rows = lab.sql(statement, {"salt": salt})
        said.append(sentence.removeprefix("-- ").format(n=len(rows), first=rows[0][0] if rows else "none"))
    return said
