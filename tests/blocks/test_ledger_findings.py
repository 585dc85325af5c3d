"""What looks at rows found is kept: the rows of one look, and what every look said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from blocks.ledger import findings
from blocks.ledger.findings import ROWS, Examination
from blocks.ledger.schema import runs
from tests.ledgers import new_run

AT = datetime(2026, 11, 29, 3, 41, tzinfo=UTC)


def said(run: str, rule: str = "orphans", **changes: object) -> Examination:
    facts = {"run_id": run, "rule": rule, "target": "shop", "at": AT, "found": 3, "seconds": 0.5, "said": "7: user 9"}
    return Examination.model_validate(facts | changes)


def test_rows_are_kept_in_the_order_in_which_they_were_found(ledger):
    """Composite keys, text of any kind, and more than fit into one transaction; each rule and run has its own."""
    found = [((str(n), "é | ' \\"), f"user {n}") for n in range(2 * ROWS + 1)]
    findings.keep(ledger, "r1", "orphans", found)
    findings.keep(ledger, "r1", "doubles", [(("1",), "x")])
    findings.keep(ledger, "r2", "orphans", [(("2",), "x")])

    assert findings.keys(ledger, "r1", "orphans") == [key for key, _ in found]
    assert (findings.keys(ledger, "r1", "doubles"), findings.keys(ledger, "r3", "orphans")) == ([("1",)], [])


def test_a_second_look_of_a_run_takes_the_place_of_its_first(ledger):
    """A row that is right by then is not kept from before."""
    findings.keep(ledger, "r1", "orphans", [(("1",), "x"), (("2",), "x")])
    findings.keep(ledger, "r1", "orphans", [(("2",), "x")])
    assert findings.keys(ledger, "r1", "orphans") == [("2",)]


def test_rows_of_old_runs_are_forgotten_and_what_was_said_is_not(ledger):
    """After ninety days nobody repairs by them."""
    old, new = (new_run(ledger, "consistency-repair").id for _ in range(2))
    for run_id in (old, new):
        findings.keep(ledger, run_id, "orphans", [(("1",), "x")])
    findings.examined(ledger, [said(old), said(new, at=datetime.now(UTC))])
    with ledger.begin() as connection:
        past = datetime.now(UTC) - timedelta(days=91)
        connection.execute(update(runs).where(runs.c.id == old).values(started_at=past))
    findings.keep(ledger, new, "doubles", [])

    assert (findings.keys(ledger, old, "orphans"), findings.keys(ledger, new, "orphans")) == ([], [("1",)])
    assert [each.run_id for each in findings.history(ledger, "shop", 9)] == [new, old]


def test_the_history_has_the_last_looks_newest_first(ledger):
    """Whole looks, of one target; a rule that could not be looked at is told from one that found nothing."""
    for hour in range(4):
        at = AT + timedelta(hours=hour)
        looked = [said(f"r{hour}", at=at, found=hour), said(f"r{hour}", "doubles", at=at, found=None, said="no right")]
        findings.examined(ledger, looked)
    findings.examined(ledger, [said("r9", target="billing", at=AT + timedelta(days=1))])

    last = findings.history(ledger, "shop", 2)
    assert [(each.run_id, each.rule, each.found) for each in last] == [
        ("r3", "doubles", None),
        ("r3", "orphans", 3),
        ("r2", "doubles", None),
        ("r2", "orphans", 2),
    ]
    assert last[0].at == AT + timedelta(hours=3)


def test_the_same_look_entered_again_is_one_look(ledger):
    """A run that is asked twice what it saw has seen it once."""
    for found in (3, 5):
        findings.examined(ledger, [said("r1", found=found)])
    assert [each.found for each in findings.history(ledger, "shop", 9)] == [5]
