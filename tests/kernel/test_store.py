"""runtime.store: what `remove` takes away, and what it must not; what is no state."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from pyrunc.errors import INVALID, PyruncError
from pyrunc.runtime import store

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_a_directory_with_all_in_it(tmp_path):
    (tmp_path / "box/notify/deeper").mkdir(parents=True)
    (tmp_path / "box/notify/file").touch()
    (tmp_path / "box/state.json").touch()
    store.remove(str(tmp_path), "box")
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_what_is_mounted_in_it_stays_whole(tmp_path):
    """As a restore leaves it that was killed: the rootfs is still mounted for criu."""
    rootfs, place = tmp_path / "rootfs", tmp_path / "state/box/criu-root"
    (rootfs / "etc").mkdir(parents=True)
    (rootfs / "etc/passwd").write_text("root")
    place.mkdir(parents=True)
    subprocess.run(["mount", "--bind", rootfs, place], check=True)
    try:
        store.remove(str(tmp_path / "state"), "box")
    finally:
        subprocess.run(["umount", "--quiet", "--lazy", place], capture_output=True)
    assert (rootfs / "etc/passwd").read_text() == "root"
    assert list((tmp_path / "state").iterdir()) == []
    with open("/proc/self/mountinfo") as file:
        assert str(place) not in file.read()


STATE = store.State(
    id="box",
    bundle="/b",
    rootfs="/b/rootfs",
    created="2026-01-01T00:00:00Z",
    oci_version="1.2.0",
    annotations=(("a", "b"),),
    cgroup_paths=(("", "/sys/fs/cgroup/box"),),
    resctrl_groups=("x",),
)


@pytest.fixture
def saved(tmp_path):
    """The file of a container's state, and the state root."""
    store.reserve(str(tmp_path), "box")
    store.save(str(tmp_path), STATE)
    assert store.load(str(tmp_path), "box") == STATE
    return tmp_path / "box/state.json", str(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},  # its directory would be that of all
        {"id": "other"},
        {"pid": "1"},
        {"pid": True},
        {"bundle": None},
        {"annotations": ["a"]},
        {"cgroup_paths": {"": 3}},
        {"resctrl_groups": "x"},
        {"has_poststop": 1},
    ],
)
def test_a_state_that_is_damaged(saved, change):
    file, root = saved
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(PyruncError, match="state is damaged") as found:
        store.load(root, "box")
    assert (found.value.kind, found.value.where) == (INVALID, str(file))


@pytest.mark.parametrize("text", ["null", "[]", "3", "{}", '{"id": "box"}'])
def test_what_is_no_state(saved, text):
    file, root = saved
    file.write_text(text)
    with pytest.raises(PyruncError, match="state is damaged"):
        store.load(root, "box")
