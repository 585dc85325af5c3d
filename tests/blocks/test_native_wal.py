"""How far WAL can be used is read from every byte of it, and never from an exit code."""

from __future__ import annotations

import pytest

from tests.repositories import F1, F2, I1, POINT, SIZE, flip, truncate

pytestmark = pytest.mark.long


def commit_before(proof, past, number: int) -> bool:
    """Whether the last commit that was found is the one with this NUMBER."""
    earlier = past.moments.get(number - 1)
    return (earlier is None or earlier < proof.last_commit) and proof.last_commit < past.moments[number]


@pytest.mark.parametrize("name", [F1, I1, F2])
def test_whole_wal_is_proven_to_its_last_record(past, records, name):
    """From every set to the end, which is the last commit, without a complaint."""
    proof = records.native.prove(1, records.set(name).start_lsn)
    assert proof.broken == ""
    assert proof.end_lsn >= past.ends[8]
    assert proof.last_record < proof.end_lsn
    assert commit_before(proof, past, 8)


def test_wal_is_proven_up_to_where_a_timeline_was_left(past, records):
    """What comes after the fork is not looked at, and what was committed before it is told."""
    proof = records.native.prove(1, records.set(F2).start_lsn, past.ends[5])
    assert (proof.broken, proof.end_lsn) == ("", past.ends[5])
    assert commit_before(proof, past, 5)


def test_a_restore_point_is_found_where_it_was_set(past, records):
    """Between two commits, from every set before it; nowhere else, and under no other name."""
    native = records.native
    for name in (F1, F2):
        found = native.locate(POINT, 1, records.set(name).start_lsn, None)
        assert past.ends[5] <= found < past.ends[6]
    assert native.locate(POINT, 1, records.set(F1).start_lsn, records.set(F2).start_lsn) is None
    for name in (POINT[:-1], f"{POINT}x", "", ".*"):
        assert native.locate(name, 1, records.set(F2).start_lsn, past.ends[7]) is None


@pytest.mark.parametrize("end", [None, 7])
def test_a_bit_in_the_middle_ends_the_proof_before_it(past, records, end):
    """Neither the record nor the commits behind it count, although the files after it are whole."""
    flip(records.segment(past.ends[5]), (past.ends[5] - 10) % SIZE)
    proof = records.native.prove(1, records.set(F2).start_lsn, past.ends[end] if end else None)
    assert "checksum" in proof.broken
    assert past.ends[4] < proof.end_lsn < past.ends[5]
    assert commit_before(proof, past, 4)


def test_a_bit_in_the_header_of_a_page_ends_the_proof_before_it(past, records):
    """The first page of a segment says where it lies; one that says something else is no page of it."""
    flip(records.segment(past.ends[5]), 8)
    proof = records.native.prove(1, records.set(F2).start_lsn)
    assert "unexpected pageaddr" in proof.broken
    assert proof.end_lsn <= past.ends[5] // SIZE * SIZE
    assert commit_before(proof, past, 4)


def test_a_bit_in_the_file_that_is_still_written_is_no_natural_end(past, records):
    """Behind the place where reading ends there are pages of the same file: they were written, and cannot be read."""
    flip(records.segment(past.ends[7]), (past.ends[7] - 10) % SIZE)
    proof = records.native.prove(1, records.set(F2).start_lsn)
    assert "is damaged at" in proof.broken
    assert commit_before(proof, past, 6)


def test_a_record_that_was_never_finished_is_a_natural_end(past, records):
    """The host died while it wrote: what was acknowledged comes before."""
    file = records.segment(past.ends[8])
    last = records.native.prove(1, records.set(F2).start_lsn)
    cut = (last.end_lsn - 10) % SIZE
    content = file.read_bytes()
    truncate(file, 0)
    file.write_bytes(content[:cut] + bytes(len(content) - cut))
    proof = records.native.prove(1, records.set(F2).start_lsn)
    assert proof.broken == ""
    assert proof.end_lsn == last.last_record


def test_a_segment_that_was_written_over_an_old_one_has_its_natural_end(past, records):
    """Behind the end lie pages of the old one, as in a directory that WAL is salvaged from."""
    file, old = records.segment(past.ends[8]), records.segment(past.ends[1])
    end = -(-(past.ends[8] % SIZE) // 8192) * 8192
    content = file.read_bytes()[:end] + old.read_bytes()[end:]
    assert any(content[end:])
    truncate(file, 0)
    file.write_bytes(content)
    assert records.native.prove(1, records.set(F2).start_lsn).broken == ""


@pytest.mark.parametrize("end", [None, 7])
def test_a_missing_segment_ends_the_proof_before_it(past, records, end):
    """PostgreSQL would take the hole for the end, and promote."""
    records.segment(past.ends[5]).unlink()
    proof = records.native.prove(1, records.set(F2).start_lsn, past.ends[end] if end else None)
    assert "could not find file" in proof.broken
    assert past.ends[4] < proof.end_lsn <= past.ends[5] // SIZE * SIZE
    assert commit_before(proof, past, 4)


def test_what_lies_behind_a_hole_that_is_known_is_not_looked_at(past, records):
    """Then there is nothing to complain of; that it is not the end, the caller knows."""
    records.segment(past.ends[5]).unlink()
    proof = records.native.prove(1, records.set(F2).start_lsn, below=past.ends[5] // SIZE)
    assert (proof.broken, commit_before(proof, past, 4)) == ("", True)


def test_wal_that_begins_too_late_proves_nothing(past, records):
    """The segment in which the set begins is not there: from the set nothing can be reached."""
    start = records.set(F2).start_lsn
    records.segment(start).unlink()
    proof = records.native.prove(1, start)
    assert "could not find file" in proof.broken
    assert (proof.last_record, proof.end_lsn, proof.last_commit) == (start, start, None)


def test_a_timeline_without_wal_proves_nothing(records):
    """That is said, and no error."""
    start = records.set(F2).start_lsn
    proof = records.native.prove(7, start)
    assert "there is no WAL of timeline 00000007" in proof.broken
    assert proof.last_record == start


def test_a_segment_that_is_too_short_ends_the_proof_before_it(past, records):
    """A disk that was full cut it off."""
    truncate(records.segment(past.ends[5]), 3 * 8192)
    proof = records.native.prove(1, records.set(F2).start_lsn)
    assert proof.broken
    assert proof.end_lsn <= past.ends[5]
    assert proof.last_commit < past.moments[5]


def test_the_last_commit_is_found_however_far_back_it_is(past, records):
    """Segments without a commit are written at night, and by whoever loads for hours."""
    before = past.ends[5] // SIZE
    assert before - past.ends[4] // SIZE == 4
    proof = records.native.prove(1, records.set(F2).start_lsn, below=before)
    assert proof.last_record >= (before - 1) * SIZE
    assert commit_before(proof, past, 4)
