"""Looking at a cluster: one task, one deadline, every node, host, route and manager at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar, cast

from blocks.errors import SalvorError
from blocks.ledger import operations, positions
from blocks.postgres_node import PostgresNode
from blocks.postgres_session import Answer, Row, ask, finish
from tasks.effects import probe
from tasks.guard import current, refuse_if_patient
from tasks.postgres.hands import HANDS
from tasks.postgres.managed import observe_managed
from tasks.postgres.reach import SQL, Reach, lsn, quoted
from tasks.postgres.state import (
    Activity,
    Cluster,
    FailoverPlan,
    Host,
    MovePlan,
    Node,
    Receiver,
    Recorded,
    Route,
    Sender,
    Server,
    SwitchoverPlan,
)
from tasks.waiting import until

#: A node that has said nothing for this long is looked at from its host as well, while its answer is still awaited.
SUSPICIOUS_SECONDS = 0.15
#: How many times as long a second look may take, when at the first nobody answered.
SLOW = 4
M = TypeVar("M", bound=MovePlan)
#: How far before the first look the application's rows are searched for the gap.
AROUND = timedelta(seconds=60)
#: Seconds the application gets to write its first row after the move.
WRITTEN_SECONDS = 10.0
TIMELINES = ("Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline")


@probe
def observe_cluster(at: Reach, *, every_host: bool = False) -> Cluster:
    """Look at everything once. What does not answer is seen as not answering: this never raises for a dead node.

    EVERY_HOST: ask the hosts of standbys that answer, too; who brings one back needs its host as much as its server.
    """
    known = last_recorded(at)
    suspects = {n.name for n in at.cluster.nodes if every_host or (known and n.name == known.node)}
    nodes, routes, managed = finish(_look(at, suspects))
    if all(n.answer == "silent" for n in nodes):
        # It may be us who are slow; and where nobody could be promoted, nothing is lost by asking once more.
        nodes, routes, managed = finish(_look(patient(at), suspects))
    addresses = [(node.host, node.port) for node in at.cluster.nodes]
    refuse_if_patient(current().ledger, addresses, {n.server.system_identifier for n in nodes if n.server})
    found = {m for n in nodes if n.server for m in n.server.managers} | ({"patroni"} if managed else set())
    return Cluster(
        resource=at.resource,
        at=datetime.now(UTC),
        nodes=nodes,
        routes=routes,
        recorded=last_recorded(at),  # not `known`: a sentinel may just have written its last
        managers=tuple(sorted(found)),
        managed=managed,
        sync_standbys=at.cluster.sync_standbys,
        poolers_are_the_only_way_in=at.cluster.poolers_are_the_only_way_in,
        unfinished=cut_off(at, "postgres-failover", FailoverPlan),
        unfinished_switchover=cut_off(at, "postgres-switchover", SwitchoverPlan),
        under_way=operations.open_procedures(current().ledger, at.resource),
    )


@probe
def settle_candidate(at: Reach, plan: FailoverPlan) -> FailoverPlan:
    """Look who is the candidate now that positions stand still, or whom Patroni has elected."""
    return HANDS[plan.mode].settle(at, plan)


@probe
def observe_activity(at: Reach, plan: MovePlan, before: Cluster) -> Activity:
    """Measure from the application's own rows how long it could not write."""
    query = at.cluster.activity_sql
    if not query or current().dry_run:
        return Activity(asked=False)
    since = quoted((before.at - AROUND).isoformat())
    question = SQL["activity"].replace("{activity_sql}", query).replace("{since}", since)
    rows: list[Row] = []

    def written() -> bool:
        rows[:] = at.sql(plan.candidate, question, dbname=at.cluster.activity_dbname)
        return bool(rows[0]["newest"] and rows[0]["newest"] > before.at)

    try:
        again = until(written, WRITTEN_SECONDS)
    except SalvorError as error:
        return Activity(asked=True, problem=str(error))
    return Activity(asked=True, again=again, longest_gap_seconds=rows[0]["longest_gap_seconds"])


def patient(at: Reach) -> Reach:
    """Give every answer more time."""
    deadline = SLOW * at.cluster.probe_deadline_seconds
    return replace(at, cluster=at.cluster.model_copy(update={"probe_deadline_seconds": deadline}))


async def _look(at: Reach, suspects: set[str]) -> tuple[tuple[Node, ...], tuple[Route, ...], Any]:
    nodes = asyncio.gather(*(_node(at, n, suspect=n.name in suspects) for n in at.cluster.nodes))
    routes = asyncio.gather(*(asyncio.to_thread(_route, at, name) for name in (*at.poolers, *at.env_files)))
    managed = asyncio.to_thread(observe_managed, at)
    seen = await asyncio.gather(nodes, routes, managed)
    return tuple(seen[0]), tuple(seen[1]), seen[2]


async def _node(at: Reach, node: PostgresNode, *, suspect: bool) -> Node:
    deadline = at.cluster.probe_deadline_seconds
    asked = asyncio.ensure_future(ask(at.cluster.conninfo(node.name), SQL["observe_node"], deadline))
    # Whatever a suspect answers, its host is asked too: a frozen one costs one deadline, not two.
    if not suspect:
        await asyncio.wait({asked}, timeout=SUSPICIOUS_SECONDS)
    look = None
    if not node.managed and (not asked.done() or asked.result().kind != "answered" or _primary(asked.result())):
        look = asyncio.to_thread(_host, node, deadline)
    answer, host = await asyncio.gather(asked, look) if look else (await asked, None)
    return Node(
        name=node.name,
        address=f"{node.host}:{node.port}",
        answer=answer.kind,
        problem=answer.problem,
        server=_server(answer),
        host=host,
        nofailover=node.nofailover,
        can_power_off=bool(node.fence_command and node.fence_confirm_command),
    )


def _primary(answer: Answer) -> bool:
    # A switchover stops the primary from its host, so whether that can be reached is asked of it too.
    return bool(answer.rows) and not answer.rows[0]["in_recovery"]


def _server(answer: Answer) -> Server | None:
    if not answer.ok:
        return None
    row = dict(answer.rows[0])
    received, senders = row.pop("receiver"), row.pop("senders")
    return Server(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()},
        receiver=Receiver(**received) if received else None,
        senders=tuple(Sender(**s) for s in senders),
    )


def _host(node: PostgresNode, deadline: float) -> Host:
    try:
        said = node.look(deadline)
    except SalvorError as error:
        return Host(reachable=False, problem=str(error))
    return Host(
        reachable=True,
        processes=len(said.get("processes", "").split()),
        standby_signal="standby.signal" in said,
        directory=cast("Literal['present', 'missing', 'unknown']", said["directory"]),
        # After a rewind the checkpoint is still that of the old timeline, but the recovery ends on the new one.
        timeline=max(int(said.get(label, 0)) for label in TIMELINES),
        checkpoint_lsn=lsn(said.get("Latest checkpoint location", "0/0")),
        clean=said.get("Database cluster state") == "shut down",
    )


def _route(at: Reach, name: str) -> Route:
    try:
        if name in at.poolers:
            return _pooler(at, name)
        led = at.env_files[name].points_to()
        return Route(name=name, address=led.address, restart_owed=led.restart_owed)
    except SalvorError as error:
        return Route(name=name, address="", problem=str(error))


def _pooler(at: Reach, name: str) -> Route:
    pooler = at.poolers[name]
    rows = [row for row in pooler.show_databases(at.cluster.probe_deadline_seconds) if row.name in pooler.databases]
    missing = set(pooler.databases) - {row.name for row in rows}
    if missing:
        return Route(name=name, address="", problem=f"it knows no database {', '.join(sorted(missing))}")
    return Route(
        name=name,
        address=", ".join(sorted({f"{row.host}:{row.port}" for row in rows})),
        paused=any(row.paused for row in rows),
        disabled=any(row.disabled for row in rows),
    )


def last_recorded(at: Reach) -> Recorded | None:
    """Return what a sentinel last wrote down of the primary."""
    last = positions.last(current().ledger, at.resource)
    return Recorded.model_validate(last.model_dump(include=set(Recorded.model_fields))) if last else None


def cut_off(at: Reach, procedure: str, kind: type[M]) -> M | None:
    """Return the plan of a run of PROCEDURE that changed something and was cut off, so that this run can go on."""
    plan = operations.unfinished(current().ledger, at.resource, procedure)
    return kind.model_validate(plan) if plan else None
