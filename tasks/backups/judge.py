"""Whether what came back is what was lost. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from blocks.backup_records import Fact
from tasks.backups.judge_outside import judge_brought, unlooked_outside
from tasks.backups.state import Brought, Protected, Recovered, RestorePlan
from tasks.model import Evidence

UNAIMED = "no recovery target specified"  #: what PostgreSQL writes when it took the end of the WAL for the target
SHOWN = 5
MONGO_BACK = "documents of MongoDB are back"


def judge_restored(plan: RestorePlan, after: Recovered, kept: Protected | None = None) -> tuple[Evidence, ...]:
    """Judge what came back; KEPT: whether it has a backup again, where that was wanted."""
    found = [_writes(plan, after)]
    if after.answers:
        found += [*identity(plan, after), *_rows(plan, after), *_files(plan, after), *_led(plan, after)]
    if kept is not None and plan.protect and plan.way == "restore":
        found.append(_protected(kept))
    if kept is not None:
        found += judge_brought(kept.brought)
    return tuple(found)


def judge_drill(plan: RestorePlan, after: Recovered, *, left: str) -> tuple[Evidence, ...]:
    """Judge a drill: what came back, that it harmed nobody, and that nothing is LEFT of it."""
    whole = Evidence(
        claim="The WAL since the set can be read to its end.",
        seen=plan.wal_problem or "every checksum agrees",
        holds=not plan.wal_problem,
    )
    silent = Evidence(
        claim="The copy archived nothing.",
        seen="archiving was on" if after.archiving else "archiving was off",
        holds=not after.archiving,
    )
    gone = Evidence(claim="Nothing is left of the drill.", seen=left or "the folder is gone", holds=not left)
    wal = () if plan.way == "dump" else (whole,)
    return (*judge_restored(plan, after), *wal, silent, gone)


def _writes(plan: RestorePlan, after: Recovered) -> Evidence:
    seen = "it takes writes" if after.primary else (after.problem or "it takes no writes")
    return Evidence(claim=f"{plan.node} takes writes.", seen=seen, holds=after.answers and after.primary)


def identity(plan: RestorePlan, after: Recovered) -> Iterator[Evidence]:
    """Judge whether it is the right cluster, at the right place of its history."""
    if plan.way == "dump":
        return  # a server of its own, whose rows are compared
    yield Evidence(
        claim="It is the same cluster.",
        seen=f"system identifier {after.system_identifier}",
        holds=after.system_identifier == plan.system_identifier,
    )
    if plan.way != "restore":
        return
    yield Evidence(
        claim=f"It recovered to {plan.aim.said}, and no further.",
        seen=after.stopped or "it does not say where its recovery ended",
        holds=bool(after.stopped) and UNAIMED not in after.stopped and after.timeline > plan.aim.timeline,
    )


def _rows(plan: RestorePlan, after: Recovered) -> Iterator[Evidence]:
    kept, seen = after.kept, dict(after.facts)
    if kept and kept.facts and not after.facts_problem:
        if plan.aim.kind == "name" and plan.aim.value == kept.restore_point:
            wrong = [_differs(fact, seen) for fact in kept.facts if not fact.agrees(seen.get(fact.name, -1))]
            claim = "Rows and invariants are those that were counted when the set was taken."
        else:
            wrong = [_differs(fact, seen) for fact in kept.facts if fact.after > 0 and not seen.get(fact.name)]
            claim = "No table that had rows when the set was taken is empty or gone."
        said = "; ".join(wrong[:SHOWN]) or f"{len(kept.facts)} numbers were compared"
        yield Evidence(claim=claim, seen=said, holds=not wrong)
    if plan.deep and not after.check_problem:
        said = "; ".join(after.damaged[:SHOWN]) or "amcheck has no complaint"
        yield Evidence(claim="Every index has every row of its table.", seen=said, holds=not after.damaged)


def _files(plan: RestorePlan, after: Recovered) -> Iterator[Evidence]:
    if plan.files_into:
        seen = "; ".join(after.files_wrong[:SHOWN]) or after.files
        yield Evidence(claim="Files and Redis are back as they were kept.", seen=seen, holds=not after.files_wrong)

    if plan.mongo:  # nobody but the tool can count there
        holds = MONGO_BACK in after.mongo
        yield Evidence(claim="MongoDB is back as it was kept.", seen=after.mongo or "it was not restored", holds=holds)


def _differs(fact: Fact, seen: dict[str, int]) -> str:
    return f"{fact.name}: {seen.get(fact.name, 'nothing')} instead of {fact.after}"


def _led(plan: RestorePlan, after: Recovered) -> Iterator[Evidence]:
    for name, leads in after.routes:
        seen = f"it leads to {plan.node}" if leads else "it leads elsewhere, or holds its clients"
        yield Evidence(claim=f"{name} leads clients to {plan.node}.", seen=seen, holds=leads)
    for name, wrong in after.services:
        yield Evidence(claim=f"{name} works.", seen=wrong or "its health command says so", holds=not wrong)


def _protected(kept: Protected) -> Evidence:
    good, problem = kept.kept is not None and kept.streaming, kept.problem or "no good set of the new history"
    name = kept.kept.id if kept.kept else ""
    seen = f"{name}, and WAL streams" if good else (problem if not name else f"{name}, but WAL does not stream")
    return Evidence(claim="It has a backup again.", seen=seen, holds=good)


def unlooked_restored(plan: RestorePlan, after: Recovered, kept: Protected | None = None) -> tuple[str, ...]:
    """Say what was not looked at."""
    if not after.answers:
        return ()
    said = []
    if after.fallen_back:
        said.append(
            f"{', '.join(after.fallen_back)} is damaged and was passed over: find out why before it happens again."
        )
    if after.check_problem:
        said.append(f"Whether indexes agree with their tables: {after.check_problem}.")
    if after.facts_problem:
        said.append(f"The rows: {after.facts_problem}")
    elif after.kept and not after.kept.facts:
        said.append(f"The rows: what was counted with {after.kept.id} is not there, or its record is damaged.")
    if after.kept and plan.aim.value != after.kept.restore_point:
        said.append("Whether every row has its right value: at this moment nobody had counted them.")
    if after.kept and (after.kept.files or after.kept.redis_keys is not None) and not plan.files_into:
        said.append("The files and the Redis that were kept with the set: they were not restored.")
    return (*said, *_left_to_do(plan, after, kept.brought if kept else ()))


def _left_to_do(plan: RestorePlan, after: Recovered, brought: tuple[Brought, ...]) -> Iterator[str]:
    if after.mute:
        yield f"Whether {', '.join(after.mute)} works: no command says so (`healthy` of the service)."
    restored = plan.in_place and plan.way == "restore"
    others = [name for name in (*plan.others, *plan.dead) if name != plan.node]
    if restored and others:
        yield f"{', '.join(others)} do not follow: run postgres-rejoin for each; until then no standby confirms."
    if restored or brought:
        yield from unlooked_outside(brought)


def figures_of(plan: RestorePlan, after: Recovered, kept: Protected | None = None) -> dict[str, float]:
    """Give the numbers of the report. RTOs count from the beginning of the run, the wait for an approval with them."""
    found = {
        "rto_writable_seconds": after.writable_seconds,
        "rto_verified_seconds": after.verified_seconds,
        "rto_protected_seconds": kept.seconds if kept else None,
        "waited_for_approval_seconds": after.waited_seconds or None,
        "rpo_seconds": _rpo(plan, after),
        "restored_megabytes": after.kept.restored_bytes / 2**20 if after.kept else None,
    }
    return {name: round(value, 3) for name, value in found.items() if value is not None}


def _rpo(plan: RestorePlan, after: Recovered) -> float | None:
    """Give the seconds before the primary was last seen in which commits may be lost; None where nobody knows."""
    last = plan.recorded
    if plan.what and not plan.aim.latest:
        return None  # a drill of a moment leaves out what came later on purpose
    if last is None or not after.answers or plan.way != "restore":
        return 0.0 if after.answers and plan.way == "start" else None
    if plan.aim.lsn and plan.aim.latest and plan.aim.lsn >= last.lsn - _LAST_RECORD:
        return 0.0
    return max(0.0, (last.at - after.last_commit).total_seconds()) if after.last_commit else None


#: The recorded position is the end of the last record, the target its beginning: no record but one of a bulk load
#: is longer.
_LAST_RECORD = 8192


def sum_up(plan: RestorePlan, after: Recovered, figures: dict[str, float]) -> str:
    """Say in one sentence how it went."""
    if not after.answers:
        return ""
    times = [f"{words} after {figures[name]:.1f} s" for name, words in _TIMES.items() if name in figures]
    waited = figures.get("waited_for_approval_seconds")
    asked = f", of which it waited {waited:.1f} s for an approval" if waited else ""
    lost = f"; {figures['rpo_seconds']:.1f} s of commits lost" if "rpo_seconds" in figures else ""
    return f"{plan.why} It was {', '.join(times)}{asked}{lost}."


_TIMES = {
    "rto_writable_seconds": "writable",
    "rto_verified_seconds": "verified",
    "rto_protected_seconds": "protected again",
}
