"""Small clusters made of words, for the tests of pure code, and what an act does to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tasks.postgres.state import Cluster, FailoverPlan, Host, Node, Receiver, Recorded, Route, Sender, Server

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
PORT = {"n1": 1, "n2": 2, "n3": 3, "n4": 4, "n5": 5}
UP = Host(reachable=True, processes=9, directory="present", timeline=1)
DOWN = Host(reachable=True, directory="present", timeline=1)
UNREACHABLE = Host(reachable=False, problem="no answer")


def address(name: str) -> str:
    return f"db:{PORT[name]}"


def receiver(upstream: str = "n1", **given: Any) -> Receiver:
    seen = {"status": "streaming", "silence_seconds": 0.1, "ping_seconds": 1.0, "upstream": address(upstream)}
    return Receiver(**{**seen, "slot": "", **given})


def primary(name: str = "n1", lsn: int = 1000, *, feeds: tuple[str, ...] = (), **given: Any) -> Node:
    senders = tuple(Sender(name=n, state="streaming", sync="quorum", lag_bytes=0) for n in feeds)
    said = {"in_recovery": False, "version": 180000, "system_identifier": "77", "timeline": 1, "senders": senders}
    server = Server(**{**said, "lsn": lsn, "replayed_lsn": lsn, "slots": feeds, **given})
    return Node(name=name, address=address(name), answer="answered", server=server, host=UP)


def standby(name: str, lsn: int = 1000, *, upstream: Receiver | None = None, **given: Any) -> Node:
    said = {"in_recovery": True, "version": 180000, "system_identifier": "77", "timeline": 1, "receiver": upstream}
    server = Server(**{**said, "lsn": lsn, "replayed_lsn": lsn, "received_lsn": lsn, **given})
    return Node(name=name, address=address(name), answer="answered", server=server, host=UP)


def gone(name: str = "n1", host: Host | None = DOWN, answer: str = "refused", **given: Any) -> Node:
    return Node(name=name, address=address(name), answer=answer, host=host, problem="connection refused", **given)


def recorded(lsn: int = 1000, *, node: str = "n1", timeline: int = 1, sync: str = "ANY 1 (n2, n3)") -> Recorded:
    return Recorded(node=node, lsn=lsn, timeline=timeline, synchronous_standby_names=sync, at=AT)


def route(to: str = "n1", **given: Any) -> Route:
    return Route(name="pooler", address=address(to), **given)


def cluster(*nodes: Node, **given: Any) -> Cluster:
    said = {"routes": (route(),), "recorded": recorded(), "sync_standbys": 1}
    return Cluster(resource="recovery.postgres.orders", at=AT, nodes=nodes, **{**said, **given})


def healthy(**given: Any) -> Cluster:
    fed = (standby("n2", upstream=receiver()), standby("n3", upstream=receiver()))
    return cluster(primary(feeds=("n2", "n3"), synchronous_standby_names="ANY 1 (n2, n3)"), *fed, **given)


def crashed(**given: Any) -> Cluster:
    return cluster(gone(), standby("n2"), standby("n3", lsn=990), **given)


def recovered(plan: FailoverPlan) -> Cluster:
    """Return the world that the acts of PLAN are meant to make."""
    new = plan.timeline + 1
    fed = tuple(standby(n, upstream=receiver(plan.candidate), timeline=new) for n in plan.siblings)
    leader = primary(plan.candidate, feeds=plan.siblings, timeline=new, synchronous_standby_names=plan.sync_names)
    return cluster(gone(plan.old_primary), leader, *fed, routes=(route(plan.candidate),))
