"""Of what pgBackRest prints only what it says plainly counts; its exit code says nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from blocks.backup_records import lsn
from blocks.backup_repository import BackupRepository
from blocks.pgbackrest_says import Kept, Stanza, Verdict, stanza, taken, unfit, verdict
from tests.tasks.backups.worlds import a_set

LABEL = "20261101-000000F"
MADE = a_set("s1", label=LABEL, manifest_sha256="abc")
GOOD = f"  backup: {LABEL}, status: valid, total files checked: 967, total valid files: 967"
BAD = f"  backup: {LABEL}, status: invalid, total files checked: 967, total valid files: 966"
FILE = f"{LABEL}/pg_data/base/5/1259.gz"
SYSTEM = "7412345678901234567"


def said(*lines: str, manifest: str = "abc", then: str = "kept") -> str:
    """Print what VERIFY does."""
    first = ["stanza: orders", "status: ok", "  archiveId: none found"]
    return "\n".join([*first, *lines, f"manifest: {manifest}", f"then: {then}"]) + "\n"


def info(**given: Any) -> Stanza:
    """Print what `info` does, of one backup."""
    backup = {
        "label": LABEL, "type": "full", "prior": None, "error": False, "archive": {"start": "0000000A0000000000000003"},
        "lsn": {"start": "0/3000028", "stop": "0/3000100"}, "annotation": {"salvor": "s1"}, "database": {"id": 1},
        "info": {"size": 30, "delta": 30, "repository": {"delta": 10}},
    }  # fmt: skip
    db = {"id": 1, "repo-key": 1, "system-id": int(SYSTEM), "version": "15"}
    return stanza(json.dumps([{"name": "orders", "backup": [backup | given], "db": [db], "status": {"code": 0}}]))


def fit(asked: tuple[str, str] = ("full", ""), **given: Any) -> str:
    held = info(**given)
    return unfit(held.backup[0], held.cluster_of(held.backup[0]), asked, SYSTEM)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (said(GOOD), Verdict()),
        (said(GOOD, manifest="def"), Verdict(damage="its manifest is not the one that was written")),
        (said(BAD, f"P01   INFO: invalid checksum '{FILE}'"), Verdict(damage=(
            f"1 of its 967 files are damaged (invalid): invalid checksum '{FILE}'"))),
        ("gone\n", Verdict(damage=f"pgBackRest holds {LABEL} no longer")),
        (said(BAD.replace("invalid,", "manifest missing,")),
         Verdict(damage="1 of its 967 files are damaged (manifest missing)")),
        (said(BAD, f"P01   INFO: invalid result {FILE}: [41] unable to open file: [13] Permission denied"),
         Verdict(unread=f"invalid result {FILE}: [41] unable to open file: [13] Permission denied")),
        (said(BAD, manifest="[041]: unable to open: Permission denied"),
         Verdict(unread="[041]: unable to open: Permission denied")),
        (said(BAD, manifest="[055]: missing"), Verdict(damage="its manifest is not the one that was written")),
        (said(GOOD, then="unread"), Verdict(unread="pgBackRest's repository cannot be reached")),
        (said(GOOD.replace(LABEL, "20261102-000000F")), Verdict(unread="pgBackRest's repository cannot be reached")),
        (said(GOOD.replace("valid,", "in-progress,")), Verdict(unread="pgBackRest says that it is still being taken")),
        (said(), Verdict(unread="pgBackRest's repository cannot be reached")),
        ("", Verdict(unread="pgBackRest's repository cannot be reached")),
    ],
)  # fmt: skip
def test_a_set_is_good_only_when_each_of_its_files_is(text, expected):
    """Damage is told from not having been able to look, and silence is neither."""
    assert verdict(text, MADE) == expected


def test_what_a_set_is_built_on_could_not_be_read():
    """The file that nobody may open is the full backup's; the set on top of it is not damaged either."""
    made = MADE.model_copy(update={"label": f"{LABEL}_20261102-000000I"})
    complaint = f"INFO: invalid result {FILE}: [41] Permission denied"
    assert verdict(said(BAD.replace(LABEL, made.label), complaint), made).unread == complaint.removeprefix("INFO: ")


def test_no_file_compared_is_no_proof():
    """Nothing checked, nothing wrong: that is what an empty backup would say."""
    assert verdict(said(GOOD.replace("967", "0")), MADE).damage


@pytest.mark.parametrize(
    ("given", "asked", "says"),
    [
        ({}, ("full", ""), ""),
        ({"error": True}, ("full", ""), "another checksum"),
        ({"type": "full"}, ("incr", "20261030-000000F"), "it is full on top of nothing"),
        ({"type": "incr", "prior": "other"}, ("incr", "20261030-000000F"), "it is incr on top of other"),
        ({"database": {"id": 2}}, ("full", ""), "another cluster"),
        ({"archive": {"start": None}}, ("full", ""), "which WAL"),
        ({"lsn": {}}, ("full", ""), "which WAL"),
    ],
)
def test_what_was_taken_is_what_was_asked_for(given, asked, says):
    """Another type, another parent, another cluster, a damaged page: none of that ends with an error."""
    assert says in fit(asked, **given)
    assert bool(says) == bool(fit(asked, **given))


def test_what_it_says_of_a_backup_is_read():
    """Its name, its timeline, its positions and its sizes; and for which set it was taken."""
    held = info()
    kept = held.of_set("s1")
    assert isinstance(kept, Kept)
    assert held.of_set("s2") is None
    made = taken(kept, held.cluster_of(kept), "abc")
    assert (made.system_identifier, made.major, made.timeline) == (SYSTEM, 15, 10)
    assert (made.start_lsn, made.end_lsn) == (lsn("0/3000028"), lsn("0/3000100"))
    assert (made.bytes, made.restored_bytes, made.label, made.manifest_sha256) == (10, 30, LABEL, "abc")
    assert stanza("[]") == Stanza()
    with pytest.raises(ValueError, match="JSON"):
        stanza("ERROR: [103]")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"restic": {"repository": "/vault", "password": "p", "offsite": True}}, "cannot copy offsite"),
        ({"stream_wal": False}, "turn stream_wal on"),
        ({"pgbackrest": {"stanza": "a b"}}, "stanza"),
    ],
)
def test_a_form_that_is_filled_in_wrong_says_so(given, says):
    """What would leave a set that cannot be restored is refused before there is one."""
    block = {"directory": "/backup", "bin_directory": "/bin", "pgbackrest": {"stanza": "orders"}}
    BackupRepository.model_validate(block)
    with pytest.raises(ValidationError, match=says):
        BackupRepository.model_validate(block | given)
