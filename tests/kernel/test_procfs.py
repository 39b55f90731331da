"""kernel.procfs: parsers against lines as proc(5) has them, readers against living processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.waiting import until

from pyrunc.kernel.procfs import (
    MountEntry,
    Stat,
    inner_pid,
    is_alive,
    parse_cgroup,
    parse_mountinfo,
    parse_stat,
    read_stat,
    read_text,
)


def test_mountinfo():
    text = (
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n"
        "55 36 0:5 / /with\\040space\\011tab\\134 ro - tmpfs a\\040b rw\n"
    )
    assert parse_mountinfo(text) == (
        MountEntry(
            mount_id=36, parent_id=35, root="/mnt1", mountpoint="/mnt2", options="rw,noatime",
            propagation=("master:1", "shared:2"), fstype="ext3", source="/dev/root",
            super_options="rw,errors=continue",
        ),
        MountEntry(
            mount_id=55, parent_id=36, root="/", mountpoint="/with space\ttab\\", options="ro",
            propagation=(), fstype="tmpfs", source="a b", super_options="rw",
        ),
    )  # fmt: skip


def test_the_hosts_own_mountinfo():
    entries = parse_mountinfo(read_text("/proc/self/mountinfo"))
    assert len(entries) == len(Path("/proc/self/mountinfo").read_text().splitlines())
    assert [entry.fstype for entry in entries if entry.mountpoint == "/proc"][-1] == "proc"


def test_cgroup():
    text = "12:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/user.slice\n"
    assert parse_cgroup(text) == (
        (("cpu", "cpuacct"), "/a"), (("name=systemd",), "/b:c"), ((), "/user.slice"),
    )  # fmt: skip


def test_a_command_name_may_look_like_the_rest_of_stat():
    fields = " ".join(str(number) for number in range(4, 53))
    assert parse_stat(f"7 (a) S 1 (b)) Z {fields}\n") == Stat(state="Z", start_time=22)


def test_a_process_and_its_end():
    process = subprocess.Popen(["sleep", "1000"])
    found = read_stat(process.pid)
    assert found is not None
    with open(f"/proc/{process.pid}/stat") as file:
        assert found.start_time == int(file.read().split()[21])
    assert is_alive(process.pid, found.start_time)
    assert not is_alive(process.pid, found.start_time + 1)
    process.kill()
    until(lambda: read_stat(process.pid).state == "Z", "it is a zombie")
    assert not is_alive(process.pid, found.start_time)
    process.wait()
    assert read_stat(process.pid) is None
    assert not is_alive(process.pid, found.start_time)


def test_the_pid_in_the_innermost_namespace():
    assert inner_pid(os.getpid()) == os.getpid()


def test_bytes_that_are_not_utf8_survive(tmp_path):
    (tmp_path / "file").write_bytes(b"a\xffb")
    assert os.fsencode(read_text(str(tmp_path / "file"))) == b"a\xffb"
