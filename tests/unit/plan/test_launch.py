"""plan.launch: whole launches, as text against golden files, and what must hold for every one of them.

A golden file is made anew with PYRUNC_WRITE_GOLDEN=1; the difference is what a reviewer reads.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import launches
from support.bundle import default_config
from support.launches import NO_CGROUPS, ON_HYBRID, ON_V2, UNPRIVILEGED, as_text, plan

from pyrunc.errors import PyruncError
from pyrunc.oci.default import default_document
from pyrunc.plan import launch as planner
from pyrunc.plan import makeops, ops, rareops
from pyrunc.plan.launch import sysctl_path
from pyrunc.plan.shared import Launch
from pyrunc.plan.stub import STEP_SECCOMP
from pyrunc.record import replaced

GOLDEN = Path(__file__).parent / "golden"
MAPPING = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]


def with_user_namespace(document: dict[str, Any]) -> dict[str, Any]:
    document["linux"]["namespaces"].append({"type": "user"})
    document["linux"]["uidMappings"] = document["linux"]["gidMappings"] = MAPPING
    return document


def with_cgroup_namespace(document: dict[str, Any]) -> dict[str, Any]:
    document["linux"]["namespaces"].append({"type": "cgroup"})
    return document


def with_everything(document: dict[str, Any]) -> dict[str, Any]:
    """What has an effect on the order: hooks, terminal, sysctls, seccomp, binds, a user."""
    hook = [{"path": "/bin/hook"}]
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    document["hooks"] = dict.fromkeys(kinds, hook)
    document["domainname"] = "example"
    document["process"] |= {
        "terminal": True,
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 7, "gid": 8, "additionalGids": [9, 10]},
        "oomScoreAdj": 100,
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE"},
        "cwd": "/srv/app",
    }
    document["linux"]["namespaces"].append({"type": "time"})
    document["mounts"] += [
        {"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "rro", "rslave"]},
        {"destination": "/scratch", "type": "tmpfs", "options": ["ro", "size=1m"]},
    ]
    document["linux"] |= {
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "netDevices": {"eth7": {"name": "inner%d"}, "eth8": {}},
        "timeOffsets": {"boottime": {"secs": 5}},
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1"},
        "rootfsPropagation": "rshared",
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]},
    }
    return document


def without_mount_namespace(document: dict[str, Any]) -> dict[str, Any]:
    linux = document["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "mount"]
    for name in ("maskedPaths", "readonlyPaths"):
        del linux[name]
    return document


def rootless_default() -> dict[str, Any]:
    return default_document(rootless=True, uid=1000, gid=1000, cgroup_v2=True)


LAUNCHES: dict[str, Callable[[], Launch]] = {
    "default-hybrid": lambda: plan(default_config(), ON_HYBRID),
    "default-v2": lambda: plan(with_cgroup_namespace(default_config()), ON_V2),
    "rootless": lambda: plan(rootless_default(), UNPRIVILEGED),
    "user-namespace": lambda: plan(with_user_namespace(default_config()), ON_HYBRID),
    "everything": lambda: plan(with_everything(default_config()), ON_HYBRID, preserve_fds=2),
    "no-mount-namespace": lambda: plan(without_mount_namespace(default_config()), NO_CGROUPS),
}
every_launch = pytest.mark.parametrize("name", LAUNCHES)


@every_launch
def test_a_launch_is_as_it_was(name):
    text = as_text(LAUNCHES[name]())
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("PYRUNC_WRITE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


# -- what must hold for every launch -------------------------------------------------------------------

ENTERING = (makeops.PivotRoot, rareops.MoveRoot, rareops.ChangeRoot)
MOUNTING = (
    makeops.AttachRoot, makeops.MaskPath, makeops.MountFilesystem, makeops.MoveMount, ops.OpenConsole,
    makeops.OpenTree, makeops.ReadonlyPath, makeops.RemountReadonly, rareops.SetTreeFlags,
)  # fmt: skip


def kinds(items: tuple[ops.Op, ...]) -> list[type]:
    return [type(op) for op in items]


def entry(launch: Launch) -> int:
    (index,) = (n for n, op in enumerate(launch.child) if isinstance(op, ENTERING))
    return index


@every_launch
def test_the_root_is_entered_once_and_nothing_is_mounted_after(name):
    launch = LAUNCHES[name]()
    after = launch.child[entry(launch) + 1 :]
    assert not [op for op in after if isinstance(op, (*MOUNTING, makeops.MakeDevice, makeops.WriteSysctl))]


@every_launch
def test_the_last_step_executes_the_stub(name):
    child = LAUNCHES[name]().child
    assert kinds(child).count(ops.ExecStub) == 1
    assert isinstance(child[-1], ops.ExecStub)


@every_launch
def test_nobody_may_look_into_the_child_before_it_touches_the_image(name):
    launch = LAUNCHES[name]()
    undumpable = launch.child.index(ops.SetDumpable(value=False))
    assert undumpable < entry(launch)
    early = launch.child[:undumpable]
    assert not [op for op in early if isinstance(op, (makeops.AttachRoot, makeops.MoveMount, ops.RunHooks))]


@every_launch
def test_what_is_taken_was_saved_before(name):
    launch = LAUNCHES[name]()
    given = {"console"}  # by the caller
    for op in (*launch.prepare, *launch.stage, *launch.child):
        taken = getattr(op, "takes", None)
        assert taken is None or taken in given, op
        assert not getattr(op, "otherwise", "") or op.otherwise in given, op  # type: ignore[attr-defined]
        if getattr(op, "saves", None) is not None:
            assert op.saves not in given, op  # type: ignore[attr-defined]
            given.add(op.saves)  # type: ignore[attr-defined]


@every_launch
def test_each_word_of_one_side_is_waited_for_by_the_other(name):
    """In the same order, else both would wait for ever. `ready` is said by the stub."""
    launch = LAUNCHES[name]()

    def points(items: tuple[ops.Op, ...], kind: type) -> list[str]:
        return [op.point for op in items if isinstance(op, kind)]  # type: ignore[attr-defined]

    assert points(launch.attach, ops.Tell) == points(launch.child, ops.Await)
    assert points(launch.attach, ops.Await) == [*points(launch.child, ops.Tell), "ready"]


@every_launch
def test_what_an_operation_is_for_people(name):
    launch = LAUNCHES[name]()
    for op in (*launch.prepare, *launch.stage, *launch.attach, *launch.child):
        assert op.describe()
        assert "{" not in op.describe()


# -- the stub ------------------------------------------------------------------------------------------


def calls_of(document: dict[str, Any]) -> list[str]:
    return [call.call for call in plan(document).calls]


def test_with_no_new_privileges_seccomp_is_the_very_last_before_execve():
    launch = LAUNCHES["everything"]()
    assert launch.calls[-1].call == "seccomp"
    assert launch.calls[-1].step == STEP_SECCOMP
    assert launch.calls[-1].late


def test_without_no_new_privileges_seccomp_is_loaded_before_capabilities_are_dropped():
    document = with_everything(default_config())
    document["process"]["noNewPrivileges"] = False
    calls = plan(document).calls
    names = [call.call for call in calls]
    loaded = names.index("seccomp")
    assert "capset" in names[loaded:]
    assert not [call for call in calls[:loaded] if call.call in ("prctl", "capset", "setresuid")]
    assert names[loaded + 1 :].count("seccomp") == 0


# -- order and choice ----------------------------------------------------------------------------------


def steps(launch: Launch, *wanted: type) -> list[type]:
    return [type(op) for op in launch.child if isinstance(op, wanted)]


def test_hooks_find_a_writable_root_and_masks_come_after_them():
    order = steps(
        LAUNCHES["everything"](), makeops.MakeDirectory, ops.RunHooks, ops.OpenConsole, makeops.WriteSysctl,
        makeops.PivotRoot, makeops.SetHostname, ops.ChangeDirectory,
    )  # fmt: skip
    assert order == [
        makeops.MakeDirectory, ops.RunHooks, ops.OpenConsole, makeops.WriteSysctl, makeops.PivotRoot,
        makeops.SetHostname, ops.ChangeDirectory,
    ]  # fmt: skip
    child = kinds(LAUNCHES["everything"]().child)
    assert child.index(ops.RunHooks) < child.index(makeops.ReadonlyPath) < child.index(makeops.MaskPath)
    assert max(n for n, kind in enumerate(child) if kind is makeops.MaskPath) < child.index(
        makeops.RemountReadonly
    )


def test_network_devices_move_once_the_namespaces_are_there_and_before_settings_of_theirs():
    document = with_user_namespace(default_config())
    document["linux"] |= {"netDevices": {"eth7": {}}, "sysctl": {"net.ipv4.conf.eth7.forwarding": "1"}}
    launch = plan(document)
    words = [op.point for op in launch.attach if isinstance(op, ops.Await | ops.Tell)]
    assert words == ["mapped", "prepared", "hooks run", "ready"]
    (at,) = [n for n, op in enumerate(launch.attach) if isinstance(op, rareops.MoveNetDevice)]
    assert launch.attach[at - 1] == ops.Await(point="prepared")
    assert launch.attach[at + 1] == ops.Tell(point="hooks run")
    steps = list(launch.child)
    (setting,) = [n for n, op in enumerate(steps) if isinstance(op, makeops.WriteSysctl)]
    assert steps.index(ops.Await(point="hooks run")) < setting


def test_a_network_device_moves_to_the_namespace_that_is_joined():
    document = default_config()
    for namespace in document["linux"]["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = "/run/netns/x"
    document["linux"]["netDevices"] = {"eth7": {}}
    launch = plan(document)
    (move,) = [op for op in launch.attach if isinstance(op, rareops.MoveNetDevice)]
    assert move.takes in {op.saves for op in launch.prepare if isinstance(op, makeops.OpenNamespace)}


def test_a_privileged_host_side_opens_sources_and_an_unprivileged_child_its_own():
    privileged, rootless = LAUNCHES["user-namespace"](), LAUNCHES["rootless"]()
    assert makeops.OpenTree in kinds(privileged.prepare)
    assert makeops.OpenTree not in kinds(privileged.child)
    assert makeops.OpenTree not in kinds(rootless.prepare)
    child = kinds(rootless.child)
    assert child.index(rareops.BecomeRoot) < child.index(makeops.OpenTree) < child.index(makeops.AttachRoot)


@pytest.mark.parametrize("change", [dict, with_user_namespace])
def test_groups_are_left_alone_where_our_user_namespace_denies_them(change):
    launch = plan(change(default_config()), replaced(ON_V2, in_user_namespace=True, may_set_groups=False))
    assert "setgroups" not in [call.call for call in launch.calls]
    assert not any(op.drop_groups for op in launch.child if isinstance(op, rareops.BecomeRoot))
    assert "setgroups" in [call.call for call in plan(change(default_config()), ON_V2).calls]


def test_no_pivot_hides_the_hosts_proc():
    launch = plan(default_config(), no_pivot=True, host_mounts_to_hide=("/proc", "/sys"))
    assert rareops.MoveRoot(hide=("/proc", "/sys")) in launch.child
    assert makeops.PivotRoot not in kinds(launch.child)


@pytest.mark.parametrize(
    ("given", "root", "ours"),
    [
        ("", 1 << 18, None), ("private", 1 << 18, 1 << 18), ("rshared", 0, 1 << 20 | 1 << 14),
        ("shared", 0, 1 << 20), ("rslave", 1 << 19, 1 << 19 | 1 << 14),
        ("unbindable", 1 << 18, 1 << 17),
    ],
)  # fmt: skip
def test_propagation_of_the_rootfs(given, root, ours):
    document = default_config()
    document["linux"]["rootfsPropagation"] = given
    launch = plan(document)
    (tree,) = (op for op in launch.prepare if isinstance(op, makeops.OpenTree) and op.saves == "root")
    assert tree.propagation == root
    after = launch.child[entry(launch) + 1 :]
    assert [op.flags for op in after if isinstance(op, makeops.SetPropagation)] == ([ours] if ours else [])


def test_without_a_mount_namespace_nothing_is_mounted_and_names_are_confined():
    launch = LAUNCHES["no-mount-namespace"]()
    assert rareops.ChangeRoot(path="/bundle/rootfs") in launch.child
    assert not [op for op in (*launch.prepare, *launch.child) if isinstance(op, MOUNTING)]


def test_the_cgroup_namespace_is_made_in_the_cgroup():
    child = kinds(plan(with_cgroup_namespace(default_config())).child)
    assert max(n for n, kind in enumerate(child) if kind is ops.JoinCgroup) < child.index(ops.Unshare)


@pytest.mark.parametrize("path", ["", "/proc/5/ns/cgroup"])
def test_from_a_cgroup_namespace_that_is_joined_first_the_cgroup_is_entered_through_a_file(path):
    """The kernel (ENOENT) lets nobody be born beyond the boundary of one, where that is of delegation."""
    document = with_cgroup_namespace(default_config())
    document["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 1000, "size": 10}]
    document["linux"]["gidMappings"] = document["linux"]["uidMappings"]
    document["linux"]["namespaces"].append({"type": "user"})
    if path:
        document["linux"]["namespaces"] = [
            {**entry, "path": path} if entry["type"] == "cgroup" else entry
            for entry in document["linux"]["namespaces"]
        ]
    launch = plan(document)
    opened = {op.saves: op.is_unified for op in launch.prepare if isinstance(op, ops.OpenCgroup)}
    assert opened["cgroup/unified" if path else "cgroup"] is not bool(path)
    entered = [op.takes for op in launch.child if isinstance(op, ops.JoinCgroup)]
    assert ("cgroup/unified" in entered) is bool(path)


def test_a_config_without_a_process_cannot_be_launched():
    document = default_config()
    del document["process"]
    with pytest.raises(PyruncError, match="process property must not be empty"):
        plan(document)


def test_planning_changes_nothing_of_what_it_is_given():
    document = with_everything(default_config())
    before = copy.deepcopy(document)
    plan(document)
    assert document == before


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"), ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"), ("single", "single"),
    ],
)  # fmt: skip
def test_the_separator_that_comes_first_separates(key, path):
    assert sysctl_path(key) == path


@every_launch
def test_known_parts_make_no_difference(name, monkeypatch):
    """What is planned once for many containers is what each would be planned by itself."""
    fresh = LAUNCHES[name]()
    known = []

    def with_parts(config, facts, cgroup, request):
        parts = planner.plan_parts(
            config, facts, init=request.init, preserve_fds=request.preserve_fds, listen_fds=request.listen_fds
        )
        known.append(parts)
        return planner.plan_launch(config, facts, cgroup, request, parts)

    monkeypatch.setattr(launches, "plan_launch", with_parts)
    assert LAUNCHES[name]() == fresh
    assert known
