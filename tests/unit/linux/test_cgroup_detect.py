"""linux.cgroups.detect: the layout of a host from two texts. Pure."""

from __future__ import annotations

import pytest

from pyrunc.linux.cgroups.detect import parse_layout

HYBRID = """\
22 27 0:21 / /proc rw - proc proc rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""
OWN = """\
9:name=systemd:/init.scope
4:memory:/jobs/7
2:cpu,cpuacct:/
1:pids:/jobs/7
0::/init.scope
"""
V2 = """\
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
"""


def places(mountinfo, own=OWN):
    layout = parse_layout(mountinfo, own)
    found = {item.name: (item.mountpoint, item.own_path) for item in layout.hierarchies}
    if layout.unified_mountpoint:
        found[""] = (layout.unified_mountpoint, layout.unified_own_path)
    return found


def test_hybrid():
    assert places(HYBRID) == {
        "systemd": ("/sys/fs/cgroup/systemd", "/init.scope"),
        "memory": ("/sys/fs/cgroup/memory", "/jobs/7"),
        "cpu,cpuacct": ("/sys/fs/cgroup/cpu,cpuacct", "/"),
        "": ("/sys/fs/cgroup/unified", "/init.scope"),
    }
    assert not parse_layout(HYBRID, OWN).is_v2


def test_v2():
    layout = parse_layout(V2, "0::/user.slice/session-1.scope\n")
    assert layout.is_v2
    assert (layout.unified_mountpoint, layout.unified_own_path) == (
        "/sys/fs/cgroup",
        "/user.slice/session-1.scope",
    )


def test_none():
    assert places("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n", "") == {}
    assert places("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n") == {}


def test_controllers_are_not_found_by_a_part_of_their_name():
    assert "cpu" not in places(HYBRID, "3:cpu,cpuset:/\n")
    text = HYBRID.replace("rw,cpu,cpuacct", "rw,cpuset")
    assert "cpu" not in places(text, "3:cpu:/\n")


@pytest.mark.parametrize(
    "line",
    [
        "90 33 0:99 / /sys/fs/cgroup/memory rw - tmpfs tmpfs rw",  # on the mount itself
        "90 31 0:99 / /sys/fs/cgroup rw - tmpfs tmpfs rw",  # on the directory that holds it
        "90 23 0:99 / /sys/fs rw - tmpfs tmpfs rw",  # further up, beside
        "90 27 0:99 / / rw - tmpfs tmpfs rw",  # on the root
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_mount_that_another_hides_is_not_there(line, is_first):
    """Lines are not in the order of mounting: `/` comes after what is mounted on it above."""
    text = f"{line}\n{HYBRID}" if is_first else f"{HYBRID}{line}\n"
    assert "memory" not in places(text)


def test_a_neighbour_hides_nothing():
    text = (
        HYBRID
        + "90 31 0:99 / /sys/fs/cgroup/mem rw - tmpfs tmpfs rw\n91 27 0:98 / /sysadmin rw - tmpfs t rw\n"
    )
    assert places(text) == places(HYBRID)


def test_what_was_mounted_over_the_hiding_mount_counts():
    text = HYBRID + (
        "90 31 0:99 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "91 90 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    )
    assert places(text) == {"memory": ("/sys/fs/cgroup/memory", "/jobs/7")}


def test_in_a_container_our_own_path_counts_from_what_is_mounted():
    text = HYBRID.replace("0:30 / /sys", "0:30 /jobs/7 /sys").replace("0:29 / /sys", "0:29 /jobs /sys")
    found = places(text)
    assert found["memory"] == ("/sys/fs/cgroup/memory", "/")
    assert found["cpu,cpuacct"] == ("/sys/fs/cgroup/cpu,cpuacct", "/"), "not ours: as the kernel says it"
    deeper = places(text, "4:memory:/jobs/7/inner\n")
    assert deeper["memory"] == ("/sys/fs/cgroup/memory", "/inner")
    beside = places(text, "4:memory:/jobs/77\n")
    assert beside["memory"] == ("/sys/fs/cgroup/memory", "/jobs/77")


def test_of_several_mounts_the_one_that_shows_us_then_the_usual_one():
    extra = "70 27 0:30 / /mnt/memory rw - cgroup cgroup rw,memory\n"
    assert places(extra + HYBRID)["memory"][0] == "/sys/fs/cgroup/memory"
    part = HYBRID.replace("0:30 / /sys", "0:30 /elsewhere /sys")
    assert places(extra + part)["memory"] == ("/mnt/memory", "/jobs/7")


def test_escaped_names():
    text = V2.replace("/sys/fs/cgroup", "/mnt/my\\040cgroup").replace("31 23", "31 27")
    assert places(text, "0::/\n") == {"": ("/mnt/my cgroup", "/")}
