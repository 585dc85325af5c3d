"""Salvor's role need not be a superuser: what the README grants it is enough."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.triggers.plane.plane import Plane
from tasks.model import Outcome
from tests.drills.ward import Ward
from tests.drills.witness import assert_rows_kept
from tests.lab.account import CHECKOUT
from tests.lab.app import App
from tests.lab.cluster import Lab
from tests.lab.node import PASSWORD

pytestmark = pytest.mark.drill


def role_of_the_readme() -> str:
    """Return the statements that a reader of the README runs, with a password in place of the dots."""
    (sql,) = re.findall(r"```sql\n(CREATE ROLE salvor .*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    assert sql.count("'...'") == 1
    return str(sql).replace("'...'", f"'{PASSWORD}'")


def restrict(ward: Ward) -> None:
    """Put the role of the README in the place of the lab's superuser, and the replication password into a file."""
    lab = ward.lab
    lab.psql("n1", "DROP ROLE salvor")
    lab.psql("n1", role_of_the_readme())
    passfile = lab.root / "passfile"
    passfile.write_text(f"*:*:*:replicator:{PASSWORD}\n")
    passfile.chmod(0o600)
    lab.account.own(passfile)
    ward.change_block(replication_password=SecretStr(""), replication_passfile=str(passfile))


@pytest.mark.long
def test_the_role_of_the_readme_is_enough(plane: Plane, prefect: None) -> None:
    """Without a superuser a primary is moved, replaced and brought back; no row is lost, no password is written."""
    with Lab(fast=True) as lab, Ward(plane, lab) as ward, App(lab) as app:
        restrict(ward)
        app.await_writes(50)
        moved = ward.run("postgres-switchover", {"candidate": "n2"})
        app.await_writes(50)
        ward.record("n2")
        lab.kill_node("n2")
        replaced = ward.run("postgres-failover")
        app.await_writes(50)
        back = ward.run("postgres-rejoin")
        app.await_writes(50)
        role = lab.psql(lab.primary(), "SELECT rolsuper FROM pg_roles WHERE rolname = 'salvor'")
        settings = [node.data / "postgresql.auto.conf" for node in lab.nodes.values()]
        logs = [log for node in lab.nodes.values() for log in (node.log, node.data / "salvor-start.log")]
        for run in (moved, replaced, back):
            assert run.outcome == Outcome.RECOVERED, (run.procedure, run.why)
        assert "brought back by: rewind" in back.why
        assert role == [(False,)]
        assert [line for log in logs if log.exists() for line in denials(log)] == []
        assert [path for path in settings if PASSWORD in path.read_text()] == []
        assert_rows_kept(app)


def denials(log: Path) -> list[str]:
    """List what a server refused; an act may go on without it, and say nothing."""
    return [line for line in log.read_text().splitlines() if "permission denied" in line]
