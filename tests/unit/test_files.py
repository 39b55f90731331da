"""files: a reader sees the old contents or the new."""

from __future__ import annotations

import os
import posix
from pathlib import Path

import pytest

from pyrunc.files import absolute, read_all, read_whole, write_all, write_atomically


def test_exactly_the_bytes_are_written_and_nothing_else_is_left(tmp_path):
    target = tmp_path / "pid"

    write_atomically(str(target), b"4711")

    assert target.read_bytes() == b"4711"
    assert [path.name for path in tmp_path.iterdir()] == ["pid"]


def test_a_replacement_is_another_file_so_that_readers_keep_the_old_one(tmp_path):
    target = tmp_path / "state.json"
    target.write_bytes(b"old")
    with target.open("rb") as reader:
        write_atomically(str(target), b"new")
        assert reader.read() == b"old"
    assert target.read_bytes() == b"new"


def test_the_mode_is_subject_to_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(str(tmp_path / "x"), b"", 0o666)
    finally:
        os.umask(before)

    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_is_replaced_and_its_target_left_alone(tmp_path):
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "pid").symlink_to("victim")

    write_atomically(str(tmp_path / "pid"), b"1")

    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not (tmp_path / "pid").is_symlink()


def test_what_a_dead_process_left_is_no_obstacle_and_is_not_written_through(tmp_path):
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / f".pid.{os.getpid()}").symlink_to("victim")

    write_atomically(str(tmp_path / "pid"), b"1")

    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert (tmp_path / "pid").read_bytes() == b"1"


def test_a_failure_leaves_no_temporary_file(tmp_path):
    (tmp_path / "taken").mkdir()

    with pytest.raises(IsADirectoryError):
        write_atomically(str(tmp_path / "taken"), b"1")

    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_name_without_a_directory_is_in_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_atomically("pid", b"1")
    assert (tmp_path / "pid").read_bytes() == b"1"


def test_a_file_of_proc_whose_size_is_said_to_be_nothing_is_read_whole():
    path = "/proc/self/status"
    assert os.stat(path).st_size == 0
    assert read_whole(path).splitlines()[0].startswith(b"Name:")


def test_more_than_a_pipe_holds_is_written_and_read():
    data = bytes(range(256)) * 1024
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        posix.close(reader)
        write_all(writer, data)
        posix._exit(0)
    posix.close(writer)
    assert read_all(reader) == data
    posix.close(reader)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("//a//b/", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/../..", "/"),
        ("x/y", "{here}/x/y"),
        ("", "{here}"),
        ("..", "{above}"),
    ],
)
def test_a_path_is_made_absolute_by_its_words(path, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute(path) == expected.format(here=tmp_path, above=Path(tmp_path).parent)
