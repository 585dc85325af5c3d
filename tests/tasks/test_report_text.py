"""The report that is read at 3 a.m."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks.model import Evidence, Outcome, Plan, Report, Step
from tasks.report import artifact_key, run_url
from tasks.report_text import LIMIT_BYTES, MEANING, Facts, plan_details, plan_text, render

START = datetime(2026, 11, 22, 3, 0, 0, 250_000, tzinfo=UTC)
FACTS = Facts(
    procedure="postgres-failover",
    target="orders",
    started_at=START,
    ended_at=START + timedelta(seconds=1.4),
    requested_by="sentinel",
    alert="f1",
)
PLAN = Plan(resource="recovery.postgres.orders", key="k", why="n1 is gone", loss="At most 120 bytes.")


def at(seconds):
    return START + timedelta(seconds=seconds)


def report(**changes):
    facts = {
        "plan": PLAN,
        "evidence": (
            Evidence(claim="n2 accepts writes", seen="a row", holds=True),
            Evidence(claim="all standbys follow | n2", seen="n3\ndoes not", holds=False),
        ),
        "timeline": (
            Step(name="fence", sentence="Stop n1", started_at=at(0.1), seconds=0.25, found="it was gone"),
            Step(name="promote", sentence="Promote n2", started_at=at(0.5), seconds=0.5, error="no answer"),
            Step(name="route", sentence="Send the writes to n2", started_at=at(1.2)),
        ),
        "figures": {"rto_seconds": 1.25, "lost_bytes": 0.0},
        "unverified": ("n1 was not looked at again",),
        "outcome": Outcome.UNVERIFIED,
        "why": "n3 does not follow",
    }
    return Report(**facts | changes)


def test_the_whole_report():
    """Outcome, sentence and what to do; what is lost; evidence; timeline; figures; what was not checked; the rest."""
    assert render(report(), FACTS) == (
        """# Unverified: postgres-failover on orders

**n3 does not follow**

Not everything that was promised could be seen to hold. Look at the lines marked **NO**.

It took 1.4 s, from 2026-11-22 03:00:00 UTC to 2026-11-22 03:00:01 UTC.

## What is lost

At most 120 bytes.

## Evidence

| holds | claim | seen |
| --- | --- | --- |
| yes | n2 accepts writes | a row |
| **NO** | all standbys follow \\| n2 | n3 does not |

## Timeline (UTC)

| time | seconds | what | result |
| --- | --- | --- | --- |
| 03:00:00.350 | +0.10 | Stop n1 | it was gone (0.25 s) |
| 03:00:00.750 | +0.50 | Promote n2 | **failed:** no answer |
| 03:00:01.450 | +1.20 | Send the writes to n2 | **no end is known: the process died in it** |

## Figures

| figure | value |
| --- | --- |
| rto seconds | 1.25 |
| lost bytes | 0 |

## What is left to do, or was not checked

- n1 was not looked at again

## Circumstances

| what | is |
| --- | --- |
| asked for by | sentinel |
| alert | f1 |

<details>
<summary>The plan ("""
        + PLAN.digest
        + """)</summary>

n1 is gone

```json
"""
        + PLAN.model_dump_json(indent=2)
        + """
```

</details>
"""
    )


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_says_what_to_do(outcome):
    """In the first lines, before any table."""
    top = render(report(outcome=outcome), FACTS).split("## ")[0]
    assert top.startswith(f"# {outcome}: postgres-failover on orders\n\n**n3 does not follow**")
    assert MEANING[outcome] in top


def test_an_empty_report_has_no_empty_headings():
    """A refusal at the door is three lines."""
    text = render(Report(outcome=Outcome.REFUSED, why="no ledger"), FACTS.model_copy(update={"requested_by": ""}))
    assert "## Evidence" not in text
    assert "<details>" not in text
    assert "## What is lost" not in text


def test_a_dry_run_and_an_earlier_attempt_are_marked():
    """Nobody takes a rehearsal for the thing itself, or an old step for a new one."""
    steps = (
        Step(name="fence", sentence="Stop n1", started_at=at(-20), seconds=1.0, found="stopped"),
        Step(name="promote", sentence="Promote n2", started_at=at(1), seconds=0.0, dry=True),
    )
    text = render(report(timeline=steps), FACTS.model_copy(update={"dry_run": True, "attempt": 2}))
    assert "(dry run)" in text.splitlines()[0]
    assert "| -20, an earlier run | Stop n1 | stopped (1.00 s) |" in text
    assert "| dry run, not done |" in text
    assert "| attempt | 2 |" in text


def test_a_report_never_outgrows_the_ui():
    """A thousand steps with long sentences in letters of many bytes: cut, and it says so."""
    long = Step(name="x", sentence="ü" * 5000, started_at=START, seconds=1.0, found="ß" * 5000)
    evidence = tuple(Evidence(claim="é" * 900, seen="y", holds=True) for _ in range(100))
    text = render(report(timeline=(long,) * 1000, evidence=evidence), FACTS)
    assert len(text.encode()) < 100_000
    assert len(text.encode()) > LIMIT_BYTES / 2
    assert text.startswith("# Unverified: postgres-failover on orders")
    assert text.endswith("*Cut here: the ledger holds the whole report.*\n")


def test_a_report_that_fits_without_its_plan_is_shown_without_it():
    """The acts matter more than the data they were given."""
    big = PLAN.model_copy(update={"key": "k" * LIMIT_BYTES})
    text = render(report(plan=big), FACTS)
    assert "<details>" not in text
    assert "Send the writes to n2" in text


def test_a_plan_is_shown_before_it_is_approved():
    """What, what is lost, and why a person is asked."""
    text = plan_text(PLAN.model_copy(update={"ask": "No fence can be proven."}))
    assert text.startswith("## n1 is gone\n\n**What will be lost:** At most 120 bytes.")
    assert "**Why a person is asked:** No fence can be proven." in text
    assert plan_text(PLAN).endswith("**Why a person is asked:** the policy of this run wants it.")


class MovePlan(Plan):
    """A plan with a field of each sort."""

    candidate: str = "n2"
    fences: tuple[tuple[str, str], ...] = (("n1", "power"), ("n4", "sync"))
    siblings: tuple[str, ...] = ("n3", "n5")
    sync_names: str = ""
    zero_loss: bool = False


def test_the_details_of_a_plan_are_words():
    """What the sentences have not said, without brackets and without what is empty."""
    plan = MovePlan(**PLAN.model_dump())
    assert plan_details(plan).splitlines()[5:-2] == [
        "| candidate | n2 |",
        "| fences | n1 by power, n4 by sync |",
        "| siblings | n3, n5 |",
        "| zero loss | no |",
    ]
    assert plan_details(PLAN) == ""


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("postgres-failover", "orders"), "postgres-failover-orders"),
        (("recovery-hold", "*"), "recovery-hold-all"),
        (("x", "Orders_EU.1"), "x-orders-eu-1"),
    ],
)
def test_an_artifacts_key_is_one_that_prefect_takes(parts, key):
    """Lowercase letters, digits and dashes."""
    assert artifact_key(*parts) == key


def test_a_run_without_an_id_has_no_address():
    """A report must not fail over a link."""
    assert run_url("not-an-id") == ""
