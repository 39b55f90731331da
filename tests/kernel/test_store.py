"""runtime.store: what `remove` takes away, and what it must not."""

from __future__ import annotations

import os
import subprocess

import pytest

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
