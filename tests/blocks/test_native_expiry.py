"""Old sets go one by one, and never one that a run restores from, whoever comes first."""

from __future__ import annotations

import pytest

from blocks.native_backup import NativeRepository
from blocks.postgres_host import ScriptFailed
from tests.repositories import F1, F2, I1, SIZE

RUN = "run-1"


def ids(copy) -> list[str]:
    return [each.id for each in copy.native.look().sets]


def segments(copy) -> list[int]:
    return [file.number for file in copy.native.look().archive.files]


def shimmed(past, copy, program: str, text: str) -> NativeRepository:
    """Let PROGRAM be another one in the scripts of a repository."""
    control = past.control(past.shim(copy.path.parent, program, text))
    return NativeRepository(copy.block.model_copy(update={"control": control}))


def test_a_set_goes_with_the_wal_that_only_it_needs(copy):
    """The segment in which the oldest set that stays begins is the first that stays."""
    start, before = copy.set(F2).start_lsn, segments(copy)
    said = copy.native.expire((I1, F1), start)
    assert ids(copy) == [F2]
    assert segments(copy) == [number for number in before if number >= start // SIZE]
    assert said == f"expired {I1}; expired {F1}; {len(before) - len(segments(copy))} files of WAL removed"
    assert copy.native.prove(1, start).broken == ""
    assert not list(copy.path.glob("sets/.*"))


def test_sets_go_without_wal_when_it_is_not_known_from_where_it_is_needed(copy):
    """Then all of it stays."""
    before = segments(copy)
    assert copy.native.expire((F2,), None) == f"expired {F2}; 0 files of WAL removed"
    assert segments(copy) == before


def test_what_is_expired_twice_is_expired_once(copy):
    """A run that died in it is repeated."""
    copy.native.expire((F2,), None)
    assert copy.native.expire((F2,), None) == "0 files of WAL removed"


def test_nothing_is_expired_while_that_is_frozen(copy):
    """A disaster may need what is old; afterwards it goes as before."""
    copy.native.freeze("disaster-recover of orders")
    assert copy.native.look().frozen == "disaster-recover of orders"
    with pytest.raises(ScriptFailed, match="nothing may be expired now: disaster-recover of orders"):
        copy.native.expire((I1, F1), copy.set(F2).start_lsn)
    assert ids(copy) == [F1, I1, F2]
    copy.native.thaw()
    copy.native.expire((I1, F1), None)
    assert ids(copy) == [F2]


def test_a_set_that_a_run_restores_from_stays_with_its_wal(copy):
    """The run came first: the set, what it is built from and all WAL stay until the run lets go."""
    before = segments(copy)
    copy.native.use((F1, I1), RUN)
    assert copy.set(I1).in_use == copy.set(F1).in_use == (RUN,)
    said = copy.native.expire((I1, F1), copy.set(F2).start_lsn)
    assert said.startswith(f"kept {I1}: a run restores from it; kept {F1}: a run restores from it")
    assert (ids(copy), segments(copy)) == ([F1, I1, F2], before)
    copy.native.unuse(RUN)
    copy.native.expire((I1, F1), copy.set(F2).start_lsn)
    assert ids(copy) == [F2]


def test_a_set_that_is_expired_cannot_be_held_any_more(copy):
    """The expiry came first: the run hears of it, and leaves nothing where the set was."""
    copy.native.expire((I1,), None)
    with pytest.raises(ScriptFailed, match=f"the set {I1} is no longer there"):
        copy.native.use((F1, I1), RUN)
    assert not (copy.path / "sets" / I1).exists()
    copy.native.unuse(RUN)
    assert copy.set(F1).in_use == ()


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
    assert left.name == f".{F1}.expired"
    copy.native.expire((I1, F1), copy.set(F2).start_lsn)
    assert not list(copy.path.glob("sets/.*"))
    assert copy.native.verify(copy.set(F2)) == ""
