"""linux.facts: a Prober knows when to look again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.forked import run_apart

from pyrunc.kernel import const, syscall
from pyrunc.linux.facts import Prober, probe

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_it_finds_what_a_probe_finds_and_keeps_it():
    def look():
        prober = Prober()
        first = prober()
        return first == probe(), prober() is first, prober() is first

    assert run_apart(look) == (True, True, True)


def test_it_looks_again_when_something_is_mounted_or_unmounted():
    def look():
        prober = Prober()
        before = prober()
        syscall.mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, "")
        covered, expected = prober(), probe()
        syscall.umount2("/sys/fs/cgroup", const.MNT_DETACH)
        return before == prober(), covered == expected, covered == before

    assert run_apart(look) == (True, True, False)


def test_what_is_mounted_before_the_first_look_counts():
    def look():
        prober = Prober()
        syscall.mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, "")
        return prober() == probe()

    assert run_apart(look)


def test_it_looks_again_when_it_was_moved_to_another_cgroup():
    own = next(path for path in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")) if path.is_dir())
    made = own / f"pyrunc-test-{os.getpid()}-prober"
    made.mkdir()

    def look():
        prober = Prober()
        before = prober()
        (made / "cgroup.procs").write_text("0")
        after = prober()
        (own / "cgroup.procs").write_text("0")
        return after == before, prober() == before

    try:
        assert run_apart(look) == (False, True)
    finally:
        made.rmdir()
