"""plan.devices: /dev of a container."""

from __future__ import annotations

import os
import stat

import pytest

from pyrunc.oci.config import Device, Mount
from pyrunc.plan.devices import DevicePlan, has_host_dev, make_device_number, plan_devices
from pyrunc.plan.makeops import MakeDevice, MakeSymlink, MoveMount, OpenTree

DEFAULT = ("/dev/null", "/dev/random", "/dev/full", "/dev/tty", "/dev/zero", "/dev/urandom")


def plan(*devices: Device, mounts: tuple[Mount, ...] = (), bind=False, has_kcore=False) -> DevicePlan:
    return plan_devices(devices, mounts, bind=bind, has_kcore=has_kcore)


def nodes(planned: DevicePlan) -> dict[str, MakeDevice]:
    return {op.path: op for op in planned.make if isinstance(op, MakeDevice)}


def test_every_container_has_the_default_devices():
    made = nodes(plan())
    assert tuple(made) == DEFAULT
    assert {op.mode for op in made.values()} == {stat.S_IFCHR | 0o666}
    assert made["/dev/full"].device == os.makedev(1, 7)
    assert plan().open == ()


def test_the_configs_node_holds_where_it_has_the_same_path():
    given = Device(type="c", path="/dev/tty", major=4, minor=1, file_mode=0o600, uid=3, gid=4, origin="/d")
    made = nodes(plan(given))
    assert tuple(made) == DEFAULT
    assert made["/dev/tty"] == MakeDevice(
        path="/dev/tty", mode=stat.S_IFCHR | 0o600, device=os.makedev(4, 1), uid=3, gid=4, origin="/d"
    )


@pytest.mark.parametrize(
    ("kind", "expected"), [("c", stat.S_IFCHR), ("u", stat.S_IFCHR), ("b", stat.S_IFBLK), ("p", stat.S_IFIFO)]
)
def test_kinds_and_the_default_mode(kind, expected):
    made = nodes(plan(Device(type=kind, path="/dev/x", major=9, minor=1, origin="/d")))["/dev/x"]
    assert made.mode == expected | 0o666
    assert (made.uid, made.gid) == (0, 0)


@pytest.mark.parametrize("path", ["/dev/ptmx", "/dev/console"])
def test_what_devpts_and_the_terminal_make_is_not_made_here(path):
    assert path not in nodes(plan(Device(type="c", path=path, major=5, minor=2, origin="/d")))


def test_in_a_user_namespace_the_hosts_nodes_are_bound():
    fifo = Device(type="p", path="/dev/fifo", major=0, minor=0, origin="/d")
    planned = plan(fifo, bind=True)
    assert tuple(op.source for op in planned.open if isinstance(op, OpenTree)) == DEFAULT
    assert tuple(op.target for op in planned.make if isinstance(op, MoveMount)) == DEFAULT
    assert tuple(nodes(planned)) == ("/dev/fifo",)  # which anybody may make


def test_links():
    links = {op.path: op for op in plan(has_kcore=True).make if isinstance(op, MakeSymlink)}
    assert {path: op.target for path, op in links.items()} == {
        "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
        "/dev/stderr": "/proc/self/fd/2", "/dev/core": "/proc/kcore", "/dev/ptmx": "pts/ptmx",
    }  # fmt: skip
    assert [path for path, op in links.items() if op.replace] == ["/dev/ptmx"]


def test_no_link_to_a_kcore_that_is_not_there():
    assert "/dev/core" not in {op.path for op in plan().make if isinstance(op, MakeSymlink)}


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (Mount(destination="/dev", type="bind", source="/dev"), True),
        (Mount(destination="/dev/", source="/dev", options=("rbind",)), True),
        (Mount(destination="/dev", type="tmpfs"), False),
        (Mount(destination="/dev/shm", type="bind", source="/dev/shm"), False),
    ],
)
def test_a_dev_bound_from_elsewhere_is_somebodys_own(mount, expected):
    assert has_host_dev((mount,)) is expected
    assert (plan(mounts=(mount,)) == DevicePlan()) is expected


@pytest.mark.parametrize(("major", "minor"), [(1, 3), (4095, 255), (8, 0xFFFFF), (259, 1048575), (0, 0)])
def test_device_numbers_are_the_c_librarys(major, minor):
    assert make_device_number(major, minor) == os.makedev(major, minor)
