"""One look at servers, hosts and the repository; what does not answer is seen as not answering."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast

from blocks.backup_records import Listing, WalProof
from blocks.errors import SalvorError
from blocks.ledger import backups, operations, positions
from blocks.postgres_session import Answer, ask_all
from tasks.backups.choose import lies_on
from tasks.backups.decide_restore import surveyed
from tasks.backups.policies import TargetPolicy
from tasks.backups.reach import PATIENCE, SQL, Reach
from tasks.backups.state import DisasterPlan, Place, Recorded, RestorePlan, View
from tasks.guard import current, refuse_if_patient
from tasks.report import log
from tasks.waiting import each

R = TypeVar("R", bound=RestorePlan)


def look(at: Reach, names: list[str], *, sized: bool = False) -> View:
    """Ask servers, hosts and the repository, all at the same time."""
    questions = {name: (at.conninfo(name), SQL["place"]) for name in names}
    answers = ask_all(questions, at.cluster.probe_deadline_seconds)
    seen: dict[str, Any] = each(["", *names], lambda name: place_of(at, name, answers[name]) if name else _listing(at))
    listing, problem = seen.pop("")
    places = tuple(seen.values())
    if sized:
        places = tuple(_sized(at, place) for place in places)
    addresses = [(node.host, node.port) for node in at.cluster.nodes]
    refuse_if_patient(current().ledger, addresses, {p.system_identifier for p in places if p.system_identifier})
    last = positions.last(current().ledger, at.resource)
    seen_before = tuple(backups.last_seen(current().ledger, at.target))
    view = View(
        resource=at.resource,
        target=at.target,
        at=datetime.now(UTC),
        places=places,
        listing=listing,
        problem=problem,
        streams=at.block.stream_wal,
        engine="pgbackrest" if at.block.pgbackrest.stanza else "native",
        recorded=Recorded.model_validate(last.model_dump(include=set(Recorded.model_fields))) if last else None,
        last_seen=seen_before,
        copy_offsite=_copy_offsite(at) if listing is None or not listing.sets else "",
        unfinished=_cut_off(at, "backup-restore", RestorePlan),
        unfinished_disaster=_cut_off(at, "disaster-recover", DisasterPlan),
    )
    if listing and (listing.sets or not seen_before):
        remember(at, view, listing)
    return view


def _copy_offsite(at: Reach) -> str:
    restic = at.restic
    if restic is None or not at.block.restic.offsite:
        return ""
    try:
        copies = [each.set_id for each in restic.snapshots() if each.what == "offsite"]
    except SalvorError as error:
        log(f"The place of the copies could not be asked: {error}", warn=True)
        return ""
    return copies[-1] if copies else ""


def _cut_off(at: Reach, procedure: str, kind: type[R]) -> R | None:
    plan = operations.unfinished(current().ledger, at.resource, procedure)
    return kind.model_validate(plan) if plan else None


def _listing(at: Reach) -> tuple[Listing | None, str]:
    try:
        return at.repository.look(), ""
    except SalvorError as error:
        return None, str(error)


def remember(at: Reach, view: View, listing: Listing) -> None:
    """Write down what the repository of this cluster holds, for the day on which nothing else is left to ask."""
    if view.system_identifier not in {"", listing.system_identifier}:
        return  # another cluster's: what was seen of this one is all that tells them apart
    try:
        backups.keep(current().ledger, at.target, listing.sets)
    except SalvorError as error:  # the repository itself was read, and is what counts
        log(f"The ledger could not be told what the repository holds: {error}", warn=True)


def place_of(at: Reach, name: str, answer: Answer | None) -> Place:
    """See one node: what its server says, and what its host says of it."""
    row = answer.rows[0] if answer and answer.ok else {}
    seen: dict[str, Any] = {
        "name": name,
        "answers": bool(row),
        "primary": bool(row) and not row["in_recovery"],
        "timeline": row.get("timeline") or 0,
        "lsn": row.get("lsn") or 0,
        "system_identifier": row.get("system_identifier", ""),
        "major": row.get("major", 0),
        "summaries": row.get("summaries", False),
        "problem": answer.problem if answer else "",
        "nofailover": at.node(name).nofailover,
    }
    try:
        said = at.restoring(name).look(max(PATIENCE, at.cluster.probe_deadline_seconds))
    except SalvorError as error:
        return Place(**seen | {"problem": " ".join(filter(None, (seen["problem"], str(error))))})
    return Place(**seen | _of_host(said, seen))


def _of_host(said: dict[str, str], seen: dict[str, Any]) -> dict[str, Any]:
    timelines = ("Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline")
    return {
        "reachable": True,
        "directory": cast("Literal['present', 'missing', 'unknown']", said.get("directory", "unknown")),
        "processes": len(said.get("processes", "").split()),
        "standby_signal": "standby.signal" in said,
        "major": seen["major"] or int(said.get("major") or 0),
        "free_bytes": int(said.get("free") or 0),
        "held_bytes": int(said.get("held") or 0),
        "sees_repository": "repository" in said,
        "restored": said.get("restored", ""),
        "timeline": seen["timeline"] or max(int(said.get(label) or 0) for label in timelines),
        "system_identifier": seen["system_identifier"] or said.get("Database system identifier", ""),
    }


def _sized(at: Reach, place: Place) -> Place:
    if not place.primary:
        return place
    rows = at.ask(place.name, SQL["size"], deadline=60.0)
    return place.model_copy(update={"bytes": int(rows[0]["bytes"])})


def prove(at: Reach, view: View, policy: TargetPolicy) -> tuple[WalProof, ...]:
    """Read the WAL that a recovery to the target of POLICY would need, timeline by timeline."""
    made = surveyed(view, policy)
    if isinstance(made, str):
        return ()
    proofs: list[WalProof] = []
    for leg in made.path:
        start = max(made.first.start_lsn, leg.start)
        if leg.timeline < made.first.timeline or (leg.end is not None and leg.end <= start):
            continue
        below = made.hole[0] + 1 if made.hole and leg.end is None else None
        proofs.append(at.repository.prove(leg.timeline, start, leg.end, below=below))
        if proofs[-1].broken:
            break
    return tuple(proofs)


def locate(at: Reach, view: View, policy: TargetPolicy) -> int | None:
    """Look where the restore point is that POLICY names, from the newest set backwards: seldom is an old one meant."""
    if policy.target != "name" or not policy.to or view.listing is None:
        return None
    made, upper = surveyed(view, policy.model_copy(update={"target": "latest", "to": ""})), None
    if isinstance(made, str):
        return None
    begins = {each.start_lsn for each in view.listing.sets if lies_on(each, made.path)}
    for start in sorted(begins, reverse=True):
        for leg in reversed(made.path):
            low = max(start, leg.start)
            high = min((end for end in (leg.end, upper) if end is not None), default=None)
            if high is None or low < high:
                found = at.repository.locate(policy.to, leg.timeline, low, high, policy.restore_seconds)
                if found is not None:
                    return found
        upper = start
    return None
