"""A file on a host is replaced whole or not at all."""

from __future__ import annotations

import os

import pytest

from blocks.errors import Misconfigured, SalvorError
from blocks.host_file import FileChanged, HostFile
from blocks.node_control import CommandControl, LocalControl
from tests.blocks.servers import account

CONTROL = LocalControl(run_as=account().pw_name)


@pytest.fixture
def file(root):
    """Give a file of the database's user with a mode of its own."""
    path = root / "it's $a file"
    path.write_text("one\n")
    path.chmod(0o640)
    os.chown(path, account().pw_uid, account().pw_gid)
    return path


def test_mode_and_owner_stay_and_a_copy_is_kept(file):
    """Only the text changes, and the old text is still there."""
    before = file.stat()
    it = HostFile(CONTROL, str(file))
    assert it.read(5) == "one\n"
    it.replace("zwei ß\n", 5, before="one\n", keep=f"{file}.kept")
    after = file.stat()
    assert file.read_text() == "zwei ß\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert file.with_name(f"{file.name}.kept").read_text() == "one\n"
    assert sorted(p.name for p in file.parent.iterdir()) == [file.name, f"{file.name}.kept"]


def test_a_reader_sees_the_old_text_or_the_new_one(file):
    """The name moves to another inode; what was open stays readable."""
    with file.open() as reader:
        HostFile(CONTROL, str(file)).replace("two\n", 5, before="one\n")
        assert reader.read() == "one\n"
    assert file.read_text() == "two\n"


def test_a_change_of_somebody_else_is_not_lost(file):
    """The text that was read must still be there when it is replaced."""
    with pytest.raises(FileChanged, match="somebody else"):
        HostFile(CONTROL, str(file)).replace("two\n", 5, before="not one\n")
    assert [p.read_text() for p in file.parent.iterdir()] == ["one\n"]


def test_the_target_of_a_link_is_replaced_and_not_the_link(file):
    """A configuration is often a link into a repository."""
    link = file.with_name("link")
    link.symlink_to(file)
    HostFile(CONTROL, str(link)).replace("two\n", 5, before="one\n")
    assert link.is_symlink()
    assert file.read_text() == "two\n"


def test_a_connection_that_breaks_in_the_middle_of_the_text_changes_nothing(file):
    """A broken connection looks like the end of the text; the size tells."""
    half = CommandControl(template="head -c 3 | sh -c {script}")
    with pytest.raises(SalvorError, match="did not arrive whole"):
        HostFile(half, str(file)).replace("two and more\n", 5, before="one\n")
    assert [p.read_text() for p in file.parent.iterdir()] == ["one\n"]


def test_a_missing_file_is_said(root):
    """A wrong path is a setting to mend."""
    with pytest.raises(Misconfigured, match="correct the path"):
        HostFile(CONTROL, str(root / "nowhere")).read(5)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_owner_that_cannot_be_kept_is_a_refusal(file):
    """A service could not read its file any more if it silently became somebody else's."""
    os.chown(file, 0, account().pw_gid)
    with pytest.raises(SalvorError, match="cannot keep the owner"):
        HostFile(CONTROL, str(file)).replace("two\n", 5, before="one\n")
    assert [p.read_text() for p in file.parent.iterdir()] == ["one\n"]


@pytest.mark.skipif(os.geteuid() == 0 and account().pw_uid == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_said(file):
    """The sentence names who tried."""
    file.parent.chmod(0o555)
    with pytest.raises(SalvorError, match=f"{account().pw_name} cannot read .* or cannot write beside it"):
        HostFile(CONTROL, str(file)).replace("two\n", 5, before="one\n")
    file.parent.chmod(0o755)
