"""image.snapshots: one suite for both drivers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, UNSUPPORTED, PyruncError
from pyrunc.image.snapshots import base
from pyrunc.image.snapshots.base import Usage
from pyrunc.image.snapshots.overlay import _mount_by_option
from pyrunc.image.store import open_store
from pyrunc.kernel.paths import fd_path

ONE, TWO = ("sha256:" + letter * 64 for letter in "ab")


@pytest.fixture
def snapshots(store):
    """Two layers, the second upon the first."""
    for name, parent, file in ((ONE, "", "one"), (TWO, ONE, "two")):
        with store.snapshots.making(name, parent) as making:
            Path(making.path, file).write_text(file)
            store.snapshots.finish(making, Usage(bytes=3, inodes=1))
    return store.snapshots


@pytest.fixture
def view(snapshots, work):
    """Mounts a snapshot, until the test is over."""
    target = work / "view"
    target.mkdir()

    def mount(key: str) -> Path:
        snapshots.mount(key, str(target))
        return target

    yield mount
    snapshots.unmount(str(target))


@pytest.mark.parametrize("verb", ["prepare", "remove"])
def test_what_was_cut_off_can_be_cleared(snapshots, monkeypatch, verb):
    """By a kill, when all is aside and nothing in its place."""
    snapshots.prepare("other", TWO)
    if verb == "remove":
        snapshots.prepare("c", TWO)
    pid = os.fork()
    if pid == 0:
        with monkeypatch.context() as context:
            context.setattr(base, "_write_meta", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            context.setattr(base.shutil, "rmtree", _killed_by_its_second_call())
            snapshots.prepare("c", TWO) if verb == "prepare" else snapshots.remove("c")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert snapshots.cut_off() == ("c",)
    snapshots.clear("c")
    assert (snapshots.cut_off(), snapshots.active()) == ((), ("other",))
    assert os.listdir(f"{snapshots.root}/active") == ["other"]


def _killed_by_its_second_call():
    """The first is for what an earlier removal has left."""
    calls = []

    def rmtree(path):
        calls.append(path)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        raise FileNotFoundError(path)

    return rmtree


def test_a_container_sees_all_layers(snapshots, view):
    snapshots.prepare("c", TWO)
    assert sorted(os.listdir(view("c"))) == ["one", "two"]


def test_what_it_writes_is_its_own(snapshots, view):
    snapshots.prepare("c", TWO)
    root = view("c")
    (root / "one").write_text("changed")
    (root / "two").unlink()
    snapshots.prepare("other", TWO)
    snapshots.unmount(str(root))
    assert (view("other") / "one").read_text() == "one"


def test_a_committed_one_is_a_parent(snapshots, view):
    snapshots.prepare("c", ONE)
    root = view("c")
    (root / "new").write_text("new")
    (root / "one").unlink()
    snapshots.unmount(str(root))
    name = "sha256:" + "c" * 64
    snapshots.commit("c", name)
    assert snapshots.active() == () and snapshots.has(name)
    snapshots.prepare("d", name)
    assert os.listdir(view("d")) == ["new"]


def test_on_nothing_there_is_nothing(snapshots, view):
    snapshots.prepare("c")
    assert os.listdir(view("c")) == []


def test_the_root_is_the_images(snapshots, view):
    os.chmod(snapshots.layers_of(TWO)[0], 0o1711)
    os.chown(snapshots.layers_of(TWO)[0], 5, 6)
    snapshots.prepare("c", TWO)
    found = view("c").stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o1711, 5, 6)


def test_what_is_not_finished_leaves_nothing(snapshots):
    name = "sha256:" + "d" * 64
    with snapshots.making(name, ONE) as making:
        Path(making.path, "half").write_text("")
    assert not snapshots.has(name) and not os.path.exists(making.path)


def test_one_that_is_there_is_not_made_again(snapshots):
    with snapshots.making(TWO, ONE) as making:
        assert making is None


def test_names_on_disk_are_not_the_callers(snapshots):
    for key in ("../x", "", "a/b", ".hidden", "a\0b"):
        with pytest.raises(PyruncError) as caught:
            snapshots.prepare(key)
        assert caught.value.kind == INVALID


def test_a_key_is_taken_once_and_a_parent_has_to_be_there(snapshots):
    snapshots.prepare("c", TWO)
    with pytest.raises(PyruncError) as caught:
        snapshots.prepare("c", TWO)
    assert caught.value.kind == CONFLICT
    with pytest.raises(PyruncError) as caught:
        snapshots.prepare("d", "sha256:" + "e" * 64)
    assert caught.value.kind == NOT_FOUND and snapshots.active() == ("c",)


def test_removing_twice_is_no_error(snapshots):
    snapshots.prepare("c", TWO)
    snapshots.remove("c")
    snapshots.remove("c")
    assert snapshots.active() == ()


def test_usage_counts_a_file_with_two_names_once(snapshots, view):
    snapshots.prepare("c")
    root = view("c")
    (root / "a").write_bytes(bytes(1000))
    os.link(root / "a", root / "b")
    assert snapshots.usage("c") == Usage(bytes=1000, inodes=1)


def test_layers_in_one_option_as_before_linux_6_8(snapshots, view, work):
    if snapshots.driver != "overlay":
        pytest.skip("a plain copy has no layers")
    snapshots.prepare("c", TWO)
    found, target = snapshots.mounts("c"), work / "view"
    held = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (*found.lower, found.upper, found.work)]
    try:
        _mount_by_option([fd_path(fd) for fd in held], str(target))
        assert sorted(os.listdir(target)) == ["one", "two"]
        with pytest.raises(PyruncError) as caught:
            _mount_by_option([fd_path(held[0])] * 400, str(target))
        assert caught.value.kind == UNSUPPORTED
    finally:
        for fd in held:
            os.close(fd)


def test_users_of_the_host_do_not_reach_layers(snapshots):
    assert os.stat(snapshots.root).st_mode & 0o077 == 0


def test_a_root_keeps_its_driver(store, work):
    other = "plain" if store.snapshots.driver == "overlay" else "overlay"
    assert open_store(store.root).snapshots.driver == store.snapshots.driver
    with pytest.raises(PyruncError) as caught:
        open_store(store.root, other)
    assert caught.value.kind == CONFLICT
    with pytest.raises(PyruncError) as caught:
        open_store(store.root, "zfs")
    assert caught.value.kind == INVALID
