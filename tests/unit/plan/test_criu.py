"""plan.criu: what criu is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from support.bundle import default_config
from support.launches import ON_HYBRID, ON_V2, plan

from pyrunc.errors import PyruncError
from pyrunc.linux.criu import rpc
from pyrunc.plan.criu import (
    CriuFlags,
    HostMount,
    covered,
    host_mounts,
    masked_paths,
    plan_dump,
    plan_restore,
)

DATA = HostMount(source="/host/data", target="/data")
SWITCHES = (
    "tcp_established",
    "ext_unix_sk",
    "shell_job",
    "file_locks",
    "auto_dedup",
    "lazy_pages",
    "link_remap",
)


def dump(flags: CriuFlags | None = None, **more: Any) -> dict[str, Any]:
    given = {
        "pid": 77, "rootfs": "/rootfs", "mounts": (), "masked": (), "namespaces": {}, "freezer": "",
        "config_file": "", **more,
    }  # fmt: skip
    return plan_dump(flags or CriuFlags(), **given)


def restore(flags: CriuFlags | None = None, **more: Any) -> dict[str, Any]:
    given = {"rootfs": "/root", "mounts": (), "inherited": {}, "config_file": "", **more}
    return plan_restore(flags or CriuFlags(), **given)


def config(*mounts: dict[str, Any]) -> dict[str, Any]:
    document = default_config()
    document["mounts"] += mounts
    return document


BIND = {"destination": "/data", "type": "bind", "source": "/host/data", "options": ["rbind"]}


def test_what_is_bound_comes_from_the_host():
    mounts = host_mounts(plan(config(BIND), ON_V2))
    assert DATA in mounts
    assert [item.target for item in mounts] == ["/sys/fs/cgroup", "/data"]


def test_each_cgroup_hierarchy_is_a_mount_from_the_host():
    targets = [item.target for item in host_mounts(plan(config(), ON_HYBRID))]
    assert "/sys/fs/cgroup/memory" in targets
    assert "/sys/fs/cgroup/unified" in targets


def test_a_cgroup_namespace_has_mounts_of_its_own():
    document = config()
    document["linux"]["namespaces"].append({"type": "cgroup"})
    launch = plan(document, ON_V2)
    assert host_mounts(launch) == ()
    assert "/sys/fs/cgroup" in covered(launch)


def test_masks_are_those_of_the_config():
    document = config()
    assert masked_paths(plan(document)) == tuple(document["linux"]["maskedPaths"])


def test_a_mount_is_named_by_its_place_and_found_by_that():
    saved = dump(mounts=(DATA,), masked=("/proc/kcore", "/proc/keys"))["ext_mnt"]
    assert saved == (
        {"key": "/data", "val": "/data"},
        {"key": "/proc/kcore", "val": "/dev/null"},
        {"key": "/proc/keys", "val": "/dev/null"},
    )
    sources = {item["key"]: item["val"] for item in restore(mounts=(DATA,))["ext_mnt"]}
    assert {item["val"] for item in saved} <= set(sources)
    assert sources == {"/data": "/host/data", "/dev/null": "/dev/null"}


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_reaches_criu_under_its_name(name):
    for planned in (dump, restore):
        assert planned(CriuFlags(**{name: True}))[name] is True
        assert name not in planned()


@pytest.mark.parametrize(("mode", "number"), [("ignore", 0), ("soft", 3), ("full", 4), ("strict", 5)])
def test_manage_cgroups_mode(mode, number):
    assert dump(CriuFlags(manage_cgroups_mode=mode))["manage_cgroups_mode"] == number
    assert "manage_cgroups_mode" not in dump()


def test_a_pre_dump_tracks_memory_and_leaves_it_running():
    options = dump(CriuFlags(pre_dump=True), mounts=(DATA,))
    assert options["track_mem"] and options["leave_running"]
    assert "ext_mnt" not in options
    options = dump(CriuFlags(parent_path="../before"))
    assert (options["track_mem"], options["parent_img"]) == (True, "../before")
    assert options["leave_running"] is False


def test_namespaces_that_were_joined_stay_what_they_are():
    assert dump(namespaces={"network": 11, "pid": 12})["external"] == (
        "net[11]:extRootNetNS",
        "pid[12]:extRootPidNS",
    )
    options = restore(inherited={"extRootNetNS": 9, "pipe:[3]": 1})
    assert options["inherit_fd"] == ({"key": "extRootNetNS", "fd": 9}, {"key": "pipe:[3]", "fd": 1})


def test_the_rest_of_the_flags():
    flags = CriuFlags(page_server="[::1]:27", empty_namespaces=("network",), leave_running=True)
    options = dump(flags, freezer="/freezer", config_file="/criu.conf")
    assert options["ps"] == {"address": "::1", "port": 27}
    assert options["empty_ns"] == 0x40000000
    assert (options["freeze_cgroup"], options["config_file"]) == ("/freezer", "/criu.conf")
    options = restore(CriuFlags(lsm_profile="selinux:a:b", lsm_mount_context="c", tcp_close=True))
    assert (options["lsm_profile"], options["lsm_mount_context"]) == ("selinux:a:b", "c")
    assert options["tcp_close"] is True


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"manage_cgroups_mode": "hard"}, "Invalid manage-cgroups-mode value: hard"),
        ({"empty_namespaces": ("pid",)}, "namespace pid is not supported"),
        ({"page_server": "somewhere"}, "Use --page-server ADDRESS:PORT"),
        ({"page_server": "host:0"}, "Use --page-server ADDRESS:PORT"),
    ],
)
def test_flags_that_mean_nothing(flags, words):
    with pytest.raises(PyruncError, match=words):
        dump(CriuFlags(**flags))


@pytest.mark.parametrize("text", ["label", "smack:label", "selinux:"])
def test_an_lsm_profile_has_a_type(text):
    with pytest.raises(PyruncError, match="--lsm-profile"):
        restore(CriuFlags(lsm_profile=text))


def test_criu_knows_every_name():
    flags = CriuFlags(
        **dict.fromkeys((*SWITCHES, "tcp_skip_in_flight", "tcp_close", "leave_running"), True),
        parent_path="../p", page_server="h:1", manage_cgroups_mode="soft", empty_namespaces=("network",),
        lsm_profile="apparmor:x", lsm_mount_context="c",
    )  # fmt: skip
    options = dump(
        flags, mounts=(DATA,), masked=("/m",), namespaces={"network": 1}, freezer="f", config_file="c"
    )
    assert rpc.encode(rpc.OPTIONS, options)
    assert rpc.encode(rpc.OPTIONS, restore(flags, mounts=(DATA,), inherited={"k": 1}, config_file="c"))
