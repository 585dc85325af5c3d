"""Old sets go one by one, and never one that a run restores from, whoever comes first."""

from __future__ import annotations

import pytest

from blocks.native_backup import NativeRepository
from blocks.postgres_host import ScriptFailed
from tests.repositories import F1, F2, I1, SIZE

pytestmark = pytest.mark.long

RUN = "run-1"


def ids(copy) -> list[str]:
    return [each.id for each in copy.native.look().sets]


def segments(copy) -> list[int]:
    return [file.number for file in copy.native.look().archive.files]


def shimmed(past, copy, program: str, text: str) -> NativeRepository:
    """Let PROGRAM be another one in the scripts of a repository."""
    control = past.control(past.shim(copy.path.parent, program, text))
    return NativeRepository(copy.block.model_copy(update={"control": control}))


def test_a_set_goes_with_the_wal_that_only_it_needs(records):
    """The segment in which the oldest set that stays begins is the first that stays."""
    start, before = records.set(F2).start_lsn, segments(records)
    said = records.native.expire((I1, F1), start)
    assert ids(records) == [F2]
    assert segments(records) == [number for number in before if number >= start // SIZE]
    assert said == f"expired {I1}; expired {F1}; {len(before) - len(segments(records))} files of WAL removed"
    assert records.native.prove(1, start).broken == ""
    assert not list(records.path.glob("sets/.*"))


def test_sets_go_without_wal_when_it_is_not_known_from_where_it_is_needed(records):
    """Then all of it stays."""
    before = segments(records)
    assert records.native.expire((F2,), None) == f"expired {F2}; 0 files of WAL removed"
    assert segments(records) == before


def test_what_is_expired_twice_is_expired_once(records):
    """A run that died in it is repeated."""
    records.native.expire((F2,), None)
    assert records.native.expire((F2,), None) == "0 files of WAL removed"


def test_nothing_is_expired_while_that_is_frozen(records):
    """A disaster may need what is old; afterwards it goes as before."""
    records.native.freeze("disaster-recover of orders")
    assert records.native.look().frozen == "disaster-recover of orders"
    with pytest.raises(ScriptFailed, match="nothing may be expired now: disaster-recover of orders"):
        records.native.expire((I1, F1), records.set(F2).start_lsn)
    assert ids(records) == [F1, I1, F2]
    records.native.thaw()
    records.native.expire((I1, F1), None)
    assert ids(records) == [F2]


def test_a_set_that_a_run_restores_from_stays_with_its_wal(records):
    """The run came first: the set, what it is built from and all WAL stay until the run lets go."""
    before = segments(records)
    records.native.use((F1, I1), RUN)
    assert records.set(I1).in_use == records.set(F1).in_use == (RUN,)
    said = records.native.expire((I1, F1), records.set(F2).start_lsn)
    assert said.startswith(f"kept {I1}: a run restores from it; kept {F1}: a run restores from it")
    assert (ids(records), segments(records)) == ([F1, I1, F2], before)
    records.native.unuse(RUN)
    records.native.expire((I1, F1), records.set(F2).start_lsn)
    assert ids(records) == [F2]


def test_a_set_that_is_expired_cannot_be_held_any_more(records):
    """The expiry came first: the run hears of it, and leaves nothing where the set was."""
    records.native.expire((I1,), None)
    with pytest.raises(ScriptFailed, match=f"the set {I1} is no longer there"):
        records.native.use((F1, I1), RUN)
    assert not (records.path / "sets" / I1).exists()
    records.native.unuse(RUN)
    assert records.set(F1).in_use == ()


def test_a_run_that_comes_while_a_set_is_expired_keeps_it(past, copy):
    """Between the look and the rename: the set returns to its place, whole and in use, and its WAL stays."""
    hold = f'set=$(echo "$2" | sed s,.*/,,); mkdir -p "$2/in-use" && : >"$2/in-use/{RUN}"'
    once = f'case $3 in *.expired) {hold} ;; esac; exec "$REAL" "$@"'
    before = segments(copy)
    said = shimmed(past, copy, "mv", once).expire((F1,), copy.set(F2).start_lsn)
    assert said == f"kept {F1}: a run restores from it; 0 files of WAL removed"
    assert (ids(copy), segments(copy)) == ([F1, I1, F2], before)
    assert copy.set(F1).in_use == (RUN,)
    assert copy.native.verify(copy.set(F1)) == ""
    assert not list(copy.path.glob("sets/.*"))


def test_an_expiry_that_was_killed_leaves_whole_sets(past, copy):
    """Killed while files are removed: what goes is no set any more, the others are whole, the next one ends it."""
    killed = """find "$2" -name backup_label -exec "$REAL" -f {} + && kill -9 0"""
    with pytest.raises(ScriptFailed):
        shimmed(past, copy, "rm", killed).expire((I1, F1), copy.set(F2).start_lsn)
    assert ids(copy) == [F2]
    (left,) = [part for part in copy.path.glob("sets/.*.expired") if not list(part.glob("data/backup_label"))]
    assert left.name == f".{I1}.expired"  # what is built on others goes first
    copy.native.expire((I1, F1), copy.set(F2).start_lsn)
    assert not list(copy.path.glob("sets/.*"))
    assert copy.native.verify(copy.set(F2)) == ""
