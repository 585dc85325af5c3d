"""Look at the rows, and at what earlier looks said."""

from __future__ import annotations

from blocks.ledger import findings
from blocks.ledger.findings import Examination
from tasks.consistency.judge_check import grown
from tasks.consistency.looking import Look
from tasks.consistency.policies import CheckPolicy
from tasks.consistency.reach import Reach
from tasks.consistency.state import SAMPLES, Seen
from tasks.effects import probe
from tasks.guard import current

LOOKS = 30


@probe
def observe_rows(at: Reach, policy: CheckPolicy) -> Seen:
    """Look with every rule, at one moment."""
    look = Look(at, policy, SAMPLES, current().progress.say)
    with look.found() as found:
        for _ in found:
            pass
    return look.seen()


def remember(seen: Seen, policy: CheckPolicy) -> bool:
    """Enter a look into the history; whether nothing of it is new, or nobody wants to be told."""
    recovery = current()
    before = findings.history(recovery.ledger, seen.target, LOOKS)
    findings.examined(recovery.ledger, entries(seen, recovery.run.id))
    # The newest last: a look may have been with some of the rules only.
    return not policy.alert or not grown(seen, {each.rule: each.found for each in reversed(before)})


def entries(seen: Seen, run_id: str) -> list[Examination]:
    """Write a look as lines of the history."""
    return [
        Examination(
            run_id=run_id,
            rule=each.rule,
            target=seen.target,
            at=seen.at,
            found=None if each.unseen else each.found,
            seconds=each.seconds,
            said=each.unseen or next(iter(each.samples), ""),
        )
        for each in seen.findings
    ]


def looks_before(target: str) -> list[Examination]:
    """Give what the last looks said, the newest first."""
    return findings.history(current().ledger, target, LOOKS)
