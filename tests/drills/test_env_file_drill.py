"""An application that is led by its .env: it is not led over until it was restarted."""

from __future__ import annotations

import pytest

from blocks.env_file import EnvFile
from tasks.model import Outcome
from tests.drills.ward import Ward
from tests.drills.witness import acts

pytestmark = pytest.mark.drill
URL = "DATABASE_URL=postgresql://shop:hidden@{host}:{port}/orders\n"


def test_a_restart_that_is_owed_is_done_by_the_next_run(ward: Ward) -> None:
    """A file that leads to the primary is no recovery while its application was not restarted; the next run does it."""
    path, name = ward.lab.root / "shop.env", f"{ward.target}-env"
    astray, right = ward.lab.nodes["n3"], ward.lab.nodes["n1"]
    path.write_text(URL.format(host=astray.host, port=astray.port))
    # The restart kills the script that waits for it: nobody knows what became of it.
    env = EnvFile(path=str(path), restart_command="kill -KILL $PPID")
    env.save(name)
    ward.change_block(env_files=[name])
    cut_off = ward.run("postgres-failover")
    assert path.read_text() == URL.format(host=right.host, port=right.port)
    env.restart_command = f"cp {path} {path}.read"
    env.save(name, overwrite=True)
    finished = ward.run("postgres-failover")
    again = ward.run("postgres-failover")
    assert cut_off.outcome == Outcome.UNVERIFIED, cut_off.why
    assert "not restarted" in str(cut_off.report["evidence"])
    assert "hidden" not in str((cut_off.report, finished.report))
    assert finished.outcome == Outcome.RECOVERED, finished.why
    assert path.with_name("shop.env.read").read_text() == path.read_text()
    assert (again.outcome, acts(again)) == (Outcome.NOTHING_TO_DO, [])
