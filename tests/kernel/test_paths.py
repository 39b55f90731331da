"""kernel.paths in a directory that an enemy has furnished: nothing outside is touched."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrunc.kernel import paths


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """Beside the root; must be as it was when the test ends."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "secret").write_text("secret")
    yield made
    assert sorted(os.listdir(made)) == ["secret"]
    assert (made / "secret").read_text() == "secret"


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Path:
    made = tmp_path / "root"
    (made / "inner/deep").mkdir(parents=True)
    (made / "inner/file").write_text("inside")
    return made


@pytest.fixture
def root_fd(root: Path) -> Iterator[int]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def name_of(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


WAYS_OUT = ["{outside}", "../outside", "../../../../../../../../../../..{outside}", "/../..{outside}"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"), ("/a/../b", "/b"), ("a//b/./c/", "/a/b/c"), ("/../../x", "/x"), ("", "/"),
        ("/a/b/../../..", "/"),
    ],
)  # fmt: skip
def test_a_path_is_cleaned_by_text_alone(path, expected):
    assert paths.clean(path) == expected


def test_the_parts_of_a_path_keep_what_depends_on_links():
    assert paths.components("/a//b/./../c/") == ["a", "b", "..", "c"]
    assert paths.split("/a/b/c") == ("a/b", "c")
    assert paths.split("name") == (".", "name")
    for path in ("/", "", "/a/.."):
        with pytest.raises(OSError):
            paths.split(path)


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_link_out_of_the_root_stays_inside(root, root_fd, outside, way):
    (root / "link").symlink_to(way.format(outside=outside))
    with pytest.raises(FileNotFoundError):
        paths.open_inside(root_fd, "/link/secret", os.O_RDONLY)


def test_an_absolute_link_is_taken_from_the_root(root, root_fd):
    (root / "link").symlink_to("/inner/file")
    fd = paths.open_inside(root_fd, "/link", os.O_RDONLY)
    assert os.read(fd, 100) == b"inside"
    assert name_of(fd) == str(root / "inner/file")


def test_magic_links_of_proc_are_refused():
    """They lead anywhere, whatever the root (CVE-2024-21626)."""
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError) as caught:
            paths.open_inside(fd, "/proc/self/root")
        assert caught.value.errno == errno.ELOOP
    finally:
        os.close(fd)


def test_a_link_itself(root, root_fd):
    (root / "link").symlink_to("inner/file")
    fd = paths.open_link_itself(root_fd, "/link")
    assert stat.S_ISLNK(os.fstat(fd).st_mode)
    os.close(fd)


def test_descriptors_are_closed_by_exec(root_fd):
    for fd in (paths.open_inside(root_fd, "/inner"), paths.make_file(root_fd, "/new")):
        assert not os.get_inheritable(fd)
        os.close(fd)


# -- directories -----------------------------------------------------------------------------------------


def test_missing_directories_are_made(root, root_fd):
    before = os.umask(0)
    try:
        assert name_of(paths.make_directories(root_fd, "/one/two/three", 0o750)) == str(
            root / "one/two/three"
        )
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "one/two").stat().st_mode) == 0o750


def test_one_missing_directory_is_made_in_a_parent_behind_a_link(root, root_fd):
    (root / "there").mkdir()
    (root / "way").symlink_to("/there")
    fd = paths.make_directories(root_fd, "/way/new", 0o700)
    assert os.readlink(f"/proc/self/fd/{fd}") == str(root / "there/new")
    assert stat.S_IMODE(os.stat(fd).st_mode) == 0o700
    os.close(fd)
    empty = paths.make_directories(root_fd, "")
    assert os.readlink(f"/proc/self/fd/{empty}") == str(root)
    os.close(empty)


def test_a_directory_that_is_there_is_opened_and_nothing_changed(root, root_fd):
    (root / "inner").chmod(0o711)
    assert name_of(paths.make_directories(root_fd, "/inner/deep")) == str(root / "inner/deep")
    assert stat.S_IMODE((root / "inner").stat().st_mode) == 0o711


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("rest", ["", "/more/and/more"])
def test_a_dangling_link_is_made_good_inside(root, root_fd, outside, way, rest):
    (root / "link").symlink_to(way.format(outside=outside))
    made = name_of(paths.make_directories(root_fd, f"/link{rest}"))
    assert made.startswith(f"{root}/")
    assert Path(made).is_dir()


def test_a_relative_dangling_link_is_relative_to_its_directory(root, root_fd):
    (root / "inner/link").symlink_to("deep/new")
    assert name_of(paths.make_directories(root_fd, "/inner/link/x")) == str(root / "inner/deep/new/x")


def test_dots_in_a_path_that_is_made(root, root_fd):
    assert name_of(paths.make_directories(root_fd, "/../new/../other/./x")) == str(root / "other/x")


def test_links_that_never_end(root, root_fd):
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    for make in (paths.make_directories, paths.make_file):
        with pytest.raises(OSError) as caught:
            make(root_fd, "/a/x")
        assert caught.value.errno == errno.ELOOP


def test_a_file_is_no_directory(root_fd):
    for path in ("/inner/file", "/inner/file/below"):
        with pytest.raises(OSError) as caught:
            paths.make_directories(root_fd, path)
        assert caught.value.errno == errno.ENOTDIR


def test_others_move_directories_meanwhile(root, root_fd, tmp_path):
    """Anybody can, anywhere: the kernel then can't be sure of a `..`."""
    for name in ("here", "there", "here/moved"):
        (tmp_path / name).mkdir()
    mover = os.fork()
    if mover == 0:
        while True:
            os.rename(tmp_path / "here/moved", tmp_path / "there/moved")
            os.rename(tmp_path / "there/moved", tmp_path / "here/moved")
    try:
        for _ in range(5000):
            assert name_of(paths.open_inside(root_fd, "inner/deep/../../../../inner")) == str(root / "inner")
    finally:
        os.kill(mover, signal.SIGKILL)
        os.waitpid(mover, 0)


# -- files -----------------------------------------------------------------------------------------------


def test_a_missing_file_is_made_with_its_directories(root, root_fd):
    assert name_of(paths.make_file(root_fd, "/one/two/file")) == str(root / "one/two/file")
    assert (root / "one/two/file").read_bytes() == b""


def test_a_file_that_is_there_stays(root, root_fd):
    assert name_of(paths.make_file(root_fd, "/inner/file")) == str(root / "inner/file")
    assert (root / "inner/file").read_text() == "inside"


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_file_is_not_made_through_a_link_out(root, root_fd, outside, way):
    (root / "link").symlink_to(way.format(outside=outside) + "/new")
    made = name_of(paths.make_file(root_fd, "/link"))
    assert made.startswith(f"{root}/")


def test_without_following_a_link_is_the_file(root, root_fd):
    (root / "link").symlink_to("inner/file")
    assert name_of(paths.make_file(root_fd, "/link", follow=False)) == str(root / "link")
    assert name_of(paths.make_file(root_fd, "/new", follow=False)) == str(root / "new")
