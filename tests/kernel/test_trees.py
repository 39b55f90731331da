"""kernel.trees and kernel.mounts: copies, and mounts that nobody sees until they are attached."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from support.forked import run_apart
from support.host import needs_root

from pyrunc.kernel import const, mounts, syscall, trees
from pyrunc.kernel.procfs import parse_mountinfo, read_text

pytestmark = needs_root


def describe(path: Path) -> tuple[object, ...]:
    found = path.lstat()
    size = 0 if path.is_dir() else found.st_size
    content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
    link = str(path.readlink()) if path.is_symlink() else ""
    attributes = {name: os.getxattr(path, name) for name in os.listxattr(path, follow_symlinks=False)}
    return (
        found.st_mode, found.st_uid, found.st_gid, size, found.st_mtime_ns, found.st_rdev, content, link,
        attributes,
    )  # fmt: skip


def describe_all(top: Path) -> dict[str, tuple[object, ...]]:
    return {str(path.relative_to(top)): describe(path) for path in sorted(top.rglob("*"))}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "sub/deep").mkdir(parents=True)
    (made / "sub/file").write_bytes(os.urandom(100_000))
    (made / "setuid").write_bytes(b"x")
    (made / "link").symlink_to("/etc/passwd")
    os.mkfifo(made / "fifo", 0o640)
    os.mknod(made / "socket", stat.S_IFSOCK | 0o700)
    os.mknod(made / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    for number, path in enumerate(sorted(made.rglob("*"))):
        os.chown(path, number, number + 50, follow_symlinks=False)
    (made / "setuid").chmod(0o6711)
    os.setxattr(made / "setuid", "trusted.one", b"1")
    os.setxattr(made / "sub", "trusted.two", b"2")
    for path in sorted(made.rglob("*"), reverse=True):
        os.utime(path, ns=(5, 1_234_567_890_123_456_789), follow_symlinks=False)
    return made


def copy(source: Path, target: Path) -> None:
    ends = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, target)]
    umask = os.umask(0)
    try:
        trees.copy_tree(ends[0], ends[1])
    finally:
        os.umask(umask)
        for fd in ends:
            os.close(fd)


def test_a_copy_has_everything(source, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    before = os.listdir("/proc/self/fd")
    copy(source, target)
    assert describe_all(target) == describe_all(source)
    assert len(describe_all(target)) == 8
    assert os.listdir("/proc/self/fd") == before


def test_names_of_the_same_file_stay_so(source, tmp_path):
    os.link(source / "sub/file", source / "again")
    os.link(source / "sub/file", source / "sub/deep/again")
    os.link(source / "fifo", source / "sub/fifo")
    target = tmp_path / "target"
    target.mkdir()
    copy(source, target)
    numbers = {(target / name).stat().st_ino for name in ("sub/file", "again", "sub/deep/again")}
    assert len(numbers) == 1
    assert (target / "fifo").lstat().st_ino == (target / "sub/fifo").lstat().st_ino
    assert (target / "again").stat().st_nlink == 3


def test_names_that_are_not_utf8(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    for path in (source, target):
        path.mkdir()
    (source / os.fsdecode(b"\xff\xfe")).write_text("x")
    copy(source, target)
    assert os.listdir(os.fsencode(target)) == [b"\xff\xfe"]


# -- detached mounts -------------------------------------------------------------------------------------


def mounted_at(path: Path) -> list[tuple[str, str]]:
    entries = parse_mountinfo(read_text("/proc/self/mountinfo"))
    return [(entry.fstype, entry.options) for entry in entries if entry.mountpoint == str(path)]


def attach(tree: int, path: Path) -> None:
    target = os.open(path, os.O_PATH)
    syscall.move_mount(tree, target)
    os.close(target)


def test_a_filesystem_is_filled_before_it_is_seen(tmp_path):
    def work():
        attributes = const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_NODEV
        tree = mounts.make_filesystem("tmpfs", "name", ("size=64k", "mode=0711", "sync"), attributes)
        assert mounted_at(tmp_path) == []
        inside = os.open(".", os.O_RDONLY, dir_fd=tree)
        os.mkdir("made", dir_fd=inside)
        attach(tree, tmp_path)
        (entry,) = (
            e for e in parse_mountinfo(read_text("/proc/self/mountinfo")) if e.mountpoint == str(tmp_path)
        )
        assert (entry.fstype, entry.source) == ("tmpfs", "name")
        assert {"nosuid", "nodev"} <= set(entry.options.split(","))
        assert {"size=64k", "sync"} <= set(entry.super_options.split(","))
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o711
        return os.listdir(tmp_path)

    assert run_apart(work) == ["made"]
    assert os.listdir(tmp_path) == []


def test_an_option_that_the_filesystem_does_not_know(tmp_path):
    before = os.listdir("/proc/self/fd")
    for option in ("nonsense", "nonsense=1", "size=many"):
        with pytest.raises(OSError) as caught:
            mounts.make_filesystem("tmpfs", "x", (option,), 0)
        assert caught.value.errno == errno.EINVAL
    assert os.listdir("/proc/self/fd") == before


def clone(source: Path, **how) -> int:
    given = {"recursive": False, "follow": True, "set_flags": 0, "clear_flags": 0, "propagation": 0, **how}
    return mounts.clone_tree(str(source), **given)


def test_a_clone_has_its_own_flags(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"

    def work():
        for path in (source, target):
            path.mkdir()
        syscall.mount("x", str(source), "tmpfs", const.MS_NOEXEC | const.MS_NODEV, "")
        tree = clone(source, set_flags=const.MOUNT_ATTR_RDONLY, clear_flags=const.MOUNT_ATTR_NODEV)
        attach(tree, target)
        return [set(options.split(",")) for _, options in (*mounted_at(source), *mounted_at(target))]

    before, after = run_apart(work)
    assert {"rw", "noexec", "nodev"} <= before
    assert {"ro", "noexec"} <= after
    assert "nodev" not in after


@pytest.mark.parametrize("recursive", [True, False])
def test_a_clone_takes_what_is_mounted_below_if_asked(tmp_path, recursive):
    source, target = tmp_path / "source", tmp_path / "target"

    def work():
        (source / "below").mkdir(parents=True)
        target.mkdir()
        syscall.mount("x", str(source / "below"), "tmpfs", 0, "")
        attach(clone(source, recursive=recursive), target)
        return len(mounted_at(target / "below"))

    assert run_apart(work) == int(recursive)


def test_a_clone_of_a_symlink_itself(tmp_path):
    (tmp_path / "link").symlink_to("/etc")
    for follow, kind in ((False, stat.S_IFLNK), (True, stat.S_IFDIR)):
        tree = clone(tmp_path / "link", follow=follow)
        assert stat.S_IFMT(os.fstat(tree).st_mode) == kind
        os.close(tree)


def test_a_failed_clone_leaves_no_descriptor(tmp_path):
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError):
        clone(tmp_path, set_flags=1 << 40)
    with pytest.raises(FileNotFoundError):
        clone(tmp_path / "missing")
    assert os.listdir("/proc/self/fd") == before
