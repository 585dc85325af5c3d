"""An application's files are kept by backup-take, and brought back by backup-restore."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.backup_repository import BackupRepository
from blocks.restic_place import ResticPlace
from flows.backup_restore import backup_restore
from flows.backup_take import backup_take
from tasks.backups.policies import RestorePolicy
from tests.stores import PASSWORD, needs_restic, write

pytestmark = [needs_restic, pytest.mark.long]
VALUE = "sk_live_value_of_a_key"
RESTORE = RestorePolicy(approval="auto")


def claims(state) -> dict[str, tuple[str, bool]]:
    report = state.result(raise_on_failure=False)
    assert VALUE not in report.model_dump_json()
    return {each.claim: (each.seen, each.holds) for each in report.evidence}


def test_files_are_kept_with_a_set_and_come_back_with_the_database(orders) -> None:
    """They are judged at both ends and no value is in a report; a file that is not there makes a set Unverified."""
    write(orders.vault / "app" / ".env", f"KEY={VALUE}\n", 0o600)
    block = BackupRepository.load("orders")
    block.files = [str(orders.vault / "app")]
    block.restic = ResticPlace(repository=str(orders.vault / "place"), password=SecretStr(PASSWORD), offsite=True)
    block.save("orders", overwrite=True)
    taken = backup_take("orders", return_state=True)
    found = claims(taken)
    assert (taken.name, found["What belongs to it was kept with it."]) == ("Recovered", ("1 files", True)), found
    assert found["A copy of it is offsite."][1]

    into = orders.vault / "back"
    restored = backup_restore("orders", RESTORE.model_copy(update={"files_into": str(into)}), return_state=True)
    found = claims(restored)
    assert (restored.name, found["Files and Redis are back as they were kept."]) == ("Recovered", ("1 files", True)), (
        found
    )
    back = Path(f"{into}{orders.vault}/app/.env")
    assert (back.read_text(), back.stat().st_mode & 0o777) == (f"KEY={VALUE}\n", 0o600)

    block.files = [str(orders.vault / "app"), "/nowhere/at-all"]
    block.save("orders", overwrite=True)
    taken = backup_take("orders", return_state=True)
    seen = claims(taken)["What belongs to it was kept with it."]
    assert (taken.name, seen) == ("Unverified", ("there is no /nowhere/at-all", False))
