"""One process streams WAL into a repository, however many ask for it at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import pytest

from tasks.backups.reach import Reach
from tasks.backups.taking import keep_wal, streaming
from tasks.waiting import until
from tests.lab import blocks as lab_blocks
from tests.lab.cluster import Lab

pytestmark = pytest.mark.long

CALLERS = 6
SECONDS = 10.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Give one primary."""
    with Lab(nodes=1, sync=False, pooler=False, proxies=False, fast=True) as it:
        yield it


@pytest.fixture
def at(lab: Lab) -> Reach:
    """Give what a procedure can touch, with a slot and no stream."""
    it = Reach("orders", lab_blocks.cluster(lab), lab_blocks.repository(lab))
    keep_wal(it, "n1")
    it.repository.unstream()
    return it


def ask(at: Reach, **given: Any) -> list[str]:
    """Let CALLERS ask for the stream at the same time; give what they were told."""
    (system,) = at.sql("n1", "SELECT system_identifier::text AS it FROM pg_control_system()")[0].values()
    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(lambda _: at.repository.stream(at.sources(), system, **given), repeat(None, CALLERS)))


def begun(said: list[str]) -> int:
    return sum(each.startswith("streaming into") for each in said)


def test_many_who_ask_at_once_start_one(at: Reach) -> None:
    """One of them starts it, the others find it running, and the primary sees one stream."""
    assert until(lambda: not at.repository.inlet().receivers, SECONDS)
    assert begun(ask(at)) == 1
    assert len(at.repository.inlet().receivers) == 1
    assert until(lambda: len(streaming(at, "n1")) == 1, SECONDS)


def test_many_who_see_the_same_trouble_mend_it_once(at: Reach) -> None:
    """They name the process that they saw: whoever comes second leaves the new one alone, also in a new folder."""
    ask(at)
    for anew in (False, True):
        seen = at.repository.inlet().receivers
        assert begun(ask(at, anew=anew, ending=seen)) == 1
        (now,) = at.repository.inlet().receivers
        assert now not in seen


def test_a_process_that_does_not_end_when_asked_is_ended(at: Reach) -> None:
    """A receiver that is stopped does not hear SIGTERM, and its place is taken all the same."""
    ask(at)
    (stopped,) = seen = at.repository.inlet().receivers
    os.kill(stopped, signal.SIGSTOP)
    assert begun(ask(at, ending=seen)) == 1
    assert until(lambda: len(streaming(at, "n1")) == 1, SECONDS)


def test_a_folder_that_a_restore_has_filled_is_not_gone_on_with(lab: Lab, at: Reach) -> None:
    """Its last file looks whole and may not be, so the stream begins in a folder of its own."""
    salvaged = lab.vault / "repository/wal/20990101T000000Z"
    salvaged.mkdir(mode=0o755)
    (salvaged / f"{1:08X}{0:08X}{9:08X}").touch()
    try:
        assert at.repository.inlet().newest is None
        assert begun(ask(at)) == 1
        assert until(lambda: len(streaming(at, "n1")) == 1, SECONDS)
        assert [each.name for each in salvaged.iterdir()] == [f"{1:08X}{0:08X}{9:08X}"]
    finally:
        (salvaged / f"{1:08X}{0:08X}{9:08X}").unlink()
        salvaged.rmdir()
