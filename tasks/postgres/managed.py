"""Moving the primary of a cluster that Patroni manages: Patroni is asked, and nothing is done behind its back."""

from __future__ import annotations

from contextlib import suppress

from blocks.errors import Ambiguous, SalvorError, StandDown, Transient
from blocks.patroni import Patroni, PatroniRefused
from tasks.postgres.candidates import settled
from tasks.postgres.following import await_streaming
from tasks.postgres.reach import Reach
from tasks.postgres.state import FailoverPlan, Managed, MovePlan, SwitchoverPlan
from tasks.waiting import each, until

#: Seconds one answer of Patroni's REST API may take; it asks every member for /cluster.
PATIENCE = 4.0
LEADING = ("leader", "master", "primary")
UP = ("running", "streaming")


def observe_managed(at: Reach) -> Managed | None:
    """Return what Patroni says of the cluster; None where the block names no Patroni."""
    if not at.patroni:
        return None
    answers = each(range(len(at.patroni)), lambda i: _seen(at.patroni[i])).values()
    return next((a for a in answers if not a.problem), next(iter(answers)))


def _seen(member: Patroni) -> Managed:
    try:
        seen, ttl = member.cluster(PATIENCE), member.config(PATIENCE).get("ttl", 30)
    except SalvorError as error:
        return Managed(leader="", members=(), streaming=(), paused=False, ttl_seconds=0, problem=str(error))
    return Managed(
        # Patroni goes on naming a leader that is gone until its lease has run out.
        leader=next((m.name for m in seen.members if m.role in LEADING and m.state in UP), ""),
        members=tuple(m.name for m in seen.members),
        streaming=tuple(m.name for m in seen.members if m.state == "streaming"),
        paused=seen.pause,
        ttl_seconds=int(ttl),
    )


def fence(_at: Reach, plan: FailoverPlan) -> str:
    """Leave fencing to the lease that Patroni's leader has to renew."""
    return f"Patroni's lease keeps {plan.old_primary} from writing; nothing is fenced behind its back"


def unfence(_at: Reach, _plan: FailoverPlan) -> str:
    """Nothing was fenced, so nothing is given back."""
    return "nothing was fenced"


def stop_receiving(_at: Reach, _plan: MovePlan) -> str:
    """Leave replication to Patroni."""
    return "Patroni decides who receives from whom"


def receive_again(_at: Reach, _plan: MovePlan) -> str:
    """Nothing was taken off, so nothing is put back."""
    return "nothing was taken off"


def settle(at: Reach, plan: FailoverPlan) -> FailoverPlan:
    """Wait for Patroni's election; whoever it elected is the candidate."""
    elected: list[str] = []

    def leads() -> bool:
        with suppress(Transient):
            elected[:] = [name for name in (plan.candidate, *plan.siblings, plan.old_primary) if takes_writes(at, name)]
        return bool(elected)

    if not until(leads, plan.promote_seconds):
        raise StandDown(
            f"Patroni elected nobody within {plan.promote_seconds} s. Look at `patronictl list` and its log; only when "
            "losing rows is agreed, `patronictl failover`. Nothing was changed."
        )
    return settled(plan, {elected[0]: 1})


def takes_writes(at: Reach, name: str) -> bool:
    """Whether Patroni's leader NAME is a primary already; a node that does not answer is not."""
    with suppress(SalvorError):
        row = at.sql(name, "SELECT pg_is_in_recovery() AS standby", deadline=1.0)[0]
        return not row["standby"]
    return False


def stop_primary(at: Reach, plan: SwitchoverPlan) -> str:
    """Order the hand-over, of which stopping the old primary is a part; a refusal gives clients back at once."""
    if takes_writes(at, plan.candidate):
        return f"{plan.candidate} leads already"
    try:
        return handed_over(at, plan)
    except PatroniRefused as error:
        raise StandDown(f"{error} Clients go on with {plan.old_primary}.") from error


def start_primary(_at: Reach, plan: SwitchoverPlan) -> str:
    """Leave it to Patroni who leads: it gave no hand-over, so nothing was stopped."""
    return f"Patroni did not hand over: {plan.old_primary} leads"


def promote(at: Reach, plan: MovePlan) -> str:
    """Wait until the node that Patroni promotes takes writes."""
    if not until(lambda: takes_writes(at, plan.candidate), plan.promote_seconds):
        raise Ambiguous(
            f"Patroni was to promote {plan.candidate}, which takes no writes after {plan.promote_seconds} s: look at "
            "`patronictl list`, then run postgres-failover to lead clients to whoever leads."
        )
    return f"Patroni promoted {plan.candidate}"


def handed_over(at: Reach, plan: MovePlan) -> str:
    """Order the switchover from the first member that is reached; what was not reached was not ordered."""
    problems = []
    for member in at.patroni:
        try:
            return member.switchover(plan.old_primary, plan.candidate, float(plan.promote_seconds))
        except Transient as error:
            problems.append(str(error))
    raise StandDown(f"No member's Patroni was reached, so nothing was ordered: {'; '.join(problems)}")


def follow(at: Reach, plan: MovePlan) -> str:
    """Wait until Patroni has led the other standbys to the new primary."""
    missing = await_streaming(at, plan.candidate, set(plan.siblings), plan.follow_seconds)
    return f"Patroni has not led {', '.join(missing)} over yet" if missing else "Patroni led the standbys over"


def demote(at: Reach, plan: SwitchoverPlan) -> str:
    """Wait until Patroni has made the old primary a standby."""
    missing = await_streaming(at, plan.candidate, {plan.old_primary}, plan.follow_seconds)
    return f"{plan.old_primary} does not stream yet" if missing else f"{plan.old_primary} follows {plan.candidate}"
