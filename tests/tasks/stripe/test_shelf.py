"""The files of comparisons: what is gone on with, what is not, what is thrown away."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from blocks.errors import StandDown
from tasks.stripe.drift import Difference
from tasks.stripe.shelf import GOES_ON_SECONDS, KEEP_SECONDS, Shelf
from tasks.stripe.spool import Spool
from tasks.stripe.windows import Window

ASKED = {"since": 0, "objects": ["customers"]}


def begun(folder: Path, *, complete: bool = False) -> Path:
    """Leave a comparison behind, as a run does that dies."""
    shelf = Shelf(folder)
    spool = shelf.take(ASKED)
    spool.put("customers", [("cus_1", "", "line", 1.0)], "acct/customers", [Window(0, 0, 9, "cus_1", 5, 1)])
    if complete:
        spool.note("complete", True)
    spool.close()
    shelf.release()
    return spool.path


def taken(folder: Path, asked: dict[str, object] = ASKED) -> Path:
    shelf = Shelf(folder)
    spool = shelf.take(asked)
    spool.close()
    shelf.release()
    return spool.path


def aged(path: Path, seconds: float) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        os.utime(each, (time.time() - seconds,) * 2)


def test_a_comparison_that_was_begun_is_gone_on_with(tmp_path):
    """With what was listed and how far."""
    path = begun(tmp_path)
    shelf = Shelf(tmp_path)
    spool = shelf.take(ASKED)
    assert spool.path == path
    assert spool.windows("acct/customers").windows == [Window(0, 0, 9, "cus_1", 5, 1)]
    assert spool.known("customers", "cus_1")
    spool.close()
    shelf.release()


def test_one_that_is_finished_old_or_of_something_else_is_not(tmp_path):
    """Nor one that a program of another version has written."""
    assert taken(tmp_path / "a", ASKED | {"since": 9}) != begun(tmp_path / "a")
    finished = begun(tmp_path / "b", complete=True)
    assert taken(tmp_path / "b") != finished
    old = begun(tmp_path / "c")
    aged(old, GOES_ON_SECONDS + 60)
    assert taken(tmp_path / "c") != old
    other = begun(tmp_path / "d")
    spool = Spool(other)
    spool.note("asked", ASKED | {"format": 1})
    spool.close()
    assert taken(tmp_path / "d") != other


def test_a_broken_file_does_not_stop_the_run(tmp_path):
    """Half written, or no database at all: it is thrown away."""
    path = begun(tmp_path)
    for each in tmp_path.glob(f"{path.name}-*"):
        each.unlink()
    path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    assert taken(tmp_path) != path
    assert not path.exists()


def test_two_runs_at_once_have_a_file_each_and_nobody_takes_the_others(tmp_path):
    """The second one's is never gone on with: its run may still be filling it."""
    first, second = Shelf(tmp_path), Shelf(tmp_path)
    one, other = first.take(ASKED), second.take(ASKED)
    assert one.path != other.path
    one.note("complete", True)
    first.release()
    assert taken(tmp_path) not in {one.path, other.path}
    one.close()
    other.close()
    second.release()


def test_what_may_still_be_wanted_is_kept(tmp_path):
    """A finished comparison outlives the longest wait for its approval; then it goes, with its log."""
    path = begun(tmp_path, complete=True)
    aged(path, KEEP_SECONDS - 60)
    taken(tmp_path)
    assert path.exists()
    aged(path, KEEP_SECONDS + 60)
    taken(tmp_path, ASKED | {"since": 3})
    assert not list(tmp_path.glob(f"{path.name}*"))


def test_a_comparison_that_is_not_there_proves_nothing(tmp_path):
    """A repair and the look after it refuse an empty or unfinished file."""
    with pytest.raises(StandDown, match="run it again"):
        Spool.of(tmp_path / "gone.spool")
    with pytest.raises(StandDown):
        Spool.of(begun(tmp_path))


def test_a_page_is_kept_whole_or_not_at_all(tmp_path):
    """What fails in the middle leaves neither rows nor cursor, and the file can be written again."""
    spool = Spool(tmp_path / "x.spool")
    with pytest.raises((sqlite3.Error, TypeError)):
        spool.put("customers", [("cus_1", "", "line", 1.0), ("cus_2", "", object(), 1.0)], "p", [Window(0, 0, 9)])  # type: ignore[list-item]  # what must not be
    assert not spool.known("customers", "cus_1")
    assert spool.windows("p") is None
    spool.keep("customers", [Difference("cus_1", "insert", "a", "", 1.0, "")])
    assert [each.id for each in spool.kept("customers", ["insert"])] == ["cus_1"]
    spool.close()


def test_a_payment_is_as_of_the_first_look_at_any_of_its_parts(tmp_path):
    """Its refunds are the sum over its charges, its invoice that of its invoice payment."""
    spool = Spool(tmp_path / "x.spool")
    spool.put("payment_intents", [("pi_1", "", "a", 9.0), ("pi_2", "", "b", 9.0)])
    spool.put("charges", [("ch_1", "pi_1", "2", 8.0), ("ch_2", "pi_1", "3", 7.0), ("ch_3", "", "5", 1.0)])
    spool.put("invoice_payments", [("inpay_1", "pi_1", "in_1", 8.5)])
    assert list(spool.rows("payments")) == [("pi_1", "a\tin_1\t5", 7.0, ""), ("pi_2", "b\t\\N\t0", 9.0, "")]
    spool.close()
