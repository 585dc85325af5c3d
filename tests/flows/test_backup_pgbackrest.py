"""The procedures do with pgBackRest's sets what they do with all others."""

from __future__ import annotations

import pytest

from blocks.backup_repository import BackupRepository
from blocks.pgbackrest_place import PgBackRest
from flows.backup_drill import backup_drill
from flows.backup_take import backup_take
from tests import stanzas
from tests.flows.orders import cluster
from tests.repositories import flip

pytestmark = [stanzas.needs_pgbackrest, pytest.mark.long]


@pytest.fixture
def elder(saved):
    """Give a cluster on PostgreSQL 15 whose sets pgBackRest takes."""
    with cluster(saved, nodes=1, pooler=False, debian=stanzas.DEBIAN) as lab:
        folder = lab.vault / "pgbackrest"
        folder.mkdir()
        lab.account.own(folder)
        block = BackupRepository.load("orders")
        block.pgbackrest = PgBackRest.model_validate(stanzas.stanza(lab, folder))
        block.save("orders", overwrite=True)
        yield lab


def ended(state):
    report = state.result(raise_on_failure=False)
    return state.name, report, [each.claim for each in report.evidence if not each.holds]


def test_sets_are_taken_practised_and_passed_over_when_damaged(elder) -> None:
    """A full set, an incremental one on it without WAL summaries, a drill of it, and one that falls back."""
    for kind in ("full", "incremental", "full"):
        policy = {"kind": kind} if kind == "full" else {}
        name, report, failing = ended(backup_take("orders", policy, return_state=True))
        assert (name, report.plan.kind) == ("Recovered", kind), (report.why, failing)
    name, report, failing = ended(backup_drill("orders", return_state=True))
    assert name == "Recovered", (report.why, failing)
    assert not list((elder.vault / "scratch").iterdir())
    newest = max((elder.vault / "repository/sets").iterdir())
    label = (newest / "data" / "label").read_text().strip()
    files = (elder.vault / "pgbackrest/store/backup/orders" / label / "pg_data/base").rglob("[0-9]*")
    largest = max((file for file in files if file.is_file()), key=lambda file: file.stat().st_size)
    flip(largest, largest.stat().st_size // 2)
    name, report, failing = ended(backup_drill("orders", {"what": "latest"}, return_state=True))
    assert name == "Recovered", (report.why, failing)
    assert any(newest.name in said for said in report.unverified)
    assert (newest / "bad").exists()
