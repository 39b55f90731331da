"""plan.cgroups: where the cgroup of a container is, and the whole plan for it. Pure."""

from __future__ import annotations

import pytest

from pyrunc.errors import DENIED, INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci.config import (
    Capabilities,
    Config,
    Cpu,
    DeviceRule,
    IdMapping,
    Linux,
    Memory,
    Mount,
    Namespace,
    Process,
    Resources,
    User,
)
from pyrunc.oci.rare import HugepageLimit, Network
from pyrunc.plan.cgroups import CgroupPlan, plan_cgroup, plan_without
from pyrunc.plan.facts import CgroupLayout, Hierarchy
from pyrunc.plan.makeops import AttachDeviceProgram, MakeCgroup, WriteCgroup
from pyrunc.plan.ops import OpenCgroup
from pyrunc.plan.rareops import ChownCgroup

ROOT = "/sys/fs/cgroup"
V1 = CgroupLayout(
    hierarchies=(
        Hierarchy(controllers=("cpu", "cpuacct"), mountpoint=f"{ROOT}/cpu,cpuacct"),
        Hierarchy(controllers=("cpuset",), mountpoint=f"{ROOT}/cpuset"),
        Hierarchy(controllers=("memory",), mountpoint=f"{ROOT}/memory", own_path="/user/me"),
        Hierarchy(controllers=("devices",), mountpoint=f"{ROOT}/devices"),
        Hierarchy(controllers=("pids",), mountpoint=f"{ROOT}/pids"),
        Hierarchy(controllers=("name=systemd",), mountpoint=f"{ROOT}/systemd", own_path="/init.scope"),
        Hierarchy(controllers=("name=other",), mountpoint=f"{ROOT}/other"),
    ),
)
HYBRID = CgroupLayout(
    hierarchies=V1.hierarchies,
    unified_mountpoint=f"{ROOT}/unified",
    unified_own_path="/session",
    unified_controllers=("hugetlb",),
)
V2 = CgroupLayout(
    unified_mountpoint=ROOT,
    unified_own_path="/user.slice/session.scope",
    unified_controllers=("cpuset", "cpu", "io", "memory", "hugetlb", "pids"),
)
ALLOW_ALL = (DeviceRule(allow=True),)


def plan(layout, *, rootless=False, in_user_namespace=False, process=None, mounts=(), **linux) -> CgroupPlan:
    config = Config(oci_version="1.2.0", linux=Linux(**linux), process=process, mounts=mounts)
    return plan_cgroup(
        config=config,
        container_id="box",
        layout=layout,
        in_user_namespace=in_user_namespace,
        rootless=rootless,
    )


def writes(found: CgroupPlan) -> list[tuple[str, str]]:
    return [(op.path, op.value) for op in found.make if isinstance(op, WriteCgroup)]


def made(found: CgroupPlan) -> list[MakeCgroup]:
    return [op for op in found.make if isinstance(op, MakeCgroup)]


# --- where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["", "group/box", "/group/box", "../../../group/./box//", "/../group/../box"]
)
def test_a_path_on_v1(given):
    paths = dict(plan(V1, cgroups_path=given).paths)
    inner = {
        "": "box", "group/box": "group/box", "/group/box": "/group/box",
        "../../../group/./box//": "group/box", "/../group/../box": "/box",
    }[given]  # fmt: skip
    own = "" if inner.startswith("/") else "/user/me/"
    assert paths["memory"] == f"{ROOT}/memory{own}{inner}"
    assert paths["cpu,cpuacct"] == f"{ROOT}/cpu,cpuacct/{inner.lstrip('/')}"
    assert paths["systemd"] == f"{ROOT}/systemd{'' if inner.startswith('/') else '/init.scope/'}{inner}"


def test_another_ones_named_hierarchy_is_left_alone():
    assert list(dict(plan(V1).paths)) == ["cpu,cpuacct", "cpuset", "memory", "devices", "pids", "systemd"]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("", "/user.slice/box"),
        ("a/box", "/user.slice/a/box"),
        ("/a/box", "/a/box"),
        ("../..//box", "/user.slice/box"),
    ],
)
def test_a_path_on_v2_is_beside_our_own_cgroup(given, path):
    assert plan(V2, cgroups_path=given).paths == (("", ROOT + path),)


def test_hybrid_has_the_unified_hierarchy_last_and_below_our_own_cgroup():
    paths = plan(HYBRID).paths
    assert paths[-1] == ("", f"{ROOT}/unified/session/box")
    assert len(paths) == 7


@pytest.mark.parametrize("given", ["/", "/..", "..", ".", "//", "a/.."])
def test_the_root_of_a_hierarchy_is_no_container(given):
    with pytest.raises(PyruncError) as caught:
        plan(V2, cgroups_path=given)
    assert (caught.value.kind, caught.value.where) == (INVALID, "/linux/cgroupsPath")


# --- what -----------------------------------------------------------------------------------------


def test_directories_are_made_before_anything_is_written():
    found = plan(HYBRID, resources=Resources(pids_limit=5, memory=Memory(limit=1 << 20)))
    kinds = [type(op) for op in found.make]
    assert kinds == sorted(kinds, key=[MakeCgroup, WriteCgroup].index)
    assert len(made(found)) == len(found.paths)


def test_processes_are_tolerated_only_where_nothing_is_limited():
    guards = {op.path: op.is_guarded for op in made(plan(HYBRID))}
    assert [path for path, is_guarded in guards.items() if not is_guarded] == [
        f"{ROOT}/systemd/init.scope/box",
        f"{ROOT}/unified/session/box",
    ]
    assert made(plan(V2))[0].is_guarded


def test_joining():
    assert plan(V2).join == (OpenCgroup(path=f"{ROOT}/user.slice/box", saves="cgroup", is_unified=True),)
    joins = plan(HYBRID).join
    assert joins[0] == OpenCgroup(path=f"{ROOT}/cpu,cpuacct/box/tasks", saves="cgroup/cpu,cpuacct")
    assert [op.saves for op in joins if op.is_unified] == ["cgroup"]


def test_v2_switches_on_what_there_is_and_requires_what_is_limited():
    (make,) = made(plan(V2, resources=Resources(pids_limit=5, cpu=Cpu(cpus="0"))))
    assert make.controllers == V2.unified_controllers
    assert make.required == ("cpuset", "pids")


def test_a_controller_that_a_hybrid_host_has_in_the_unified_hierarchy():
    limit = HugepageLimit(page_size="2MB", limit=2**21, origin="/linux/resources/hugepageLimits/0")
    found = plan(HYBRID, resources=Resources(hugepage_limits=(limit,), pids_limit=3))
    assert (f"{ROOT}/unified/session/box/hugetlb.2MB.max", str(2**21)) in writes(found)
    assert (f"{ROOT}/pids/box/pids.max", "3") in writes(found)
    assert made(found)[-1].controllers == ("hugetlb",)
    assert made(plan(HYBRID))[-1].controllers == ()


@pytest.mark.parametrize(
    ("layout", "resources", "pointer"),
    [
        (V1, Resources(hugepage_limits=(HugepageLimit(page_size="2MB", limit=1),)), "/hugepageLimits"),
        (V1, Resources(network=Network(class_id=1)), "/network"),
        (CgroupLayout(), Resources(memory=Memory(limit=1)), "/memory"),
        (CgroupLayout(), Resources(cpu=Cpu(cpus="0")), "/cpu"),
        (CgroupLayout(), Resources(unified=(("a.b", "1"),)), "/unified"),
    ],
)
def test_a_controller_that_the_host_does_not_have(layout, resources, pointer):
    with pytest.raises(PyruncError) as caught:
        plan(layout, resources=resources)
    assert (caught.value.kind, caught.value.where) == (UNSUPPORTED, f"/linux/resources{pointer}")


@pytest.mark.parametrize("layout", [V1, HYBRID])
def test_unified_on_v1(layout):
    with pytest.raises(PyruncError) as caught:
        plan(layout, resources=Resources(unified=(("memory.max", "1"),)))
    assert (caught.value.kind, caught.value.where) == (INVALID, "/linux/resources/unified")
    assert "cannot use unified on cgroup v1" in str(caught.value)


def test_unified_has_the_final_word():
    resources = Resources(
        memory=Memory(limit=5), pids_limit=9, unified=(("memory.max", "7"), ("io.weight", "3"))
    )
    found = plan(V2, resources=resources)
    box = f"{ROOT}/user.slice/box"
    assert writes(found) == [
        (f"{box}/memory.max", "5"),
        (f"{box}/pids.max", "9"),
        (f"{box}/memory.max", "7"),
        (f"{box}/io.weight", "3"),
    ]
    assert made(found)[0].required == ("memory", "pids", "io")


def test_what_v2_has_no_word_for_is_a_warning():
    resources = Resources(
        memory=Memory(limit=5, kernel=5, swappiness=10, disable_oom_killer=True),
        network=Network(class_id=1),
        cpu=Cpu(realtime_runtime=5),
    )
    assert [pointer for pointer, _ in plan(V2, resources=resources).warnings] == [
        "/linux/resources/network/classID",
        "/linux/resources/memory/swappiness",
        "/linux/resources/memory/disableOOMKiller",
        "/linux/resources/cpu/realtimeRuntime",
    ]
    assert plan(V2, resources=Resources(memory=Memory(limit=5), pids_limit=1)).warnings == ()


# --- devices --------------------------------------------------------------------------------------


def programs(found: CgroupPlan) -> list[AttachDeviceProgram]:
    return [op for op in found.make if isinstance(op, AttachDeviceProgram)]


def test_devices_are_restricted_in_the_form_of_the_host():
    assert writes(plan(V1))[0] == (f"{ROOT}/devices/box/devices.deny", "a")
    assert programs(plan(V1)) == programs(plan(HYBRID)) == []
    assert [op.path for op in programs(plan(V2))] == [f"{ROOT}/user.slice/box"]
    assert writes(plan(V2)) == []


@pytest.mark.parametrize("layout", [V1, V2])
@pytest.mark.parametrize("who", ["rootless", "in_user_namespace"])
def test_device_rules_are_not_for_user_namespaces(layout, who):
    found = plan(layout, **{who: True})
    assert writes(found) == programs(found) == []


def test_everything_allowed_takes_no_program():
    assert programs(plan(V2, resources=Resources(devices=ALLOW_ALL))) == []
    assert writes(plan(V1, resources=Resources(devices=ALLOW_ALL))) == [
        (f"{ROOT}/devices/box/devices.allow", "a")
    ]


def test_no_cgroups_at_all():
    harmless = Process(capabilities=Capabilities(bounding=("CAP_KILL",)))
    found = plan(CgroupLayout(), process=harmless)
    assert (found.paths, found.make, found.join) == ((), (), ())
    assert found.warnings[0][0] == "/linux/resources/devices"
    assert plan(CgroupLayout(), rootless=True) == CgroupPlan()
    for capabilities in (None, Capabilities(bounding=("CAP_MKNOD",))):
        with pytest.raises(PyruncError, match="neither a devices controller nor cgroup v2"):
            plan(CgroupLayout(), process=Process(capabilities=capabilities))


# --- ownership ------------------------------------------------------------------------------------

CGROUP_MOUNT = Mount(destination="/sys/fs/cgroup", type="cgroup", options=("nosuid", "rw"))
CGROUP_NAMESPACE = Namespace(type="cgroup")
USER_NAMESPACE = Namespace(type="user")
MAPPING = IdMapping(container_id=0, host_id=100000, size=65536)


def owner(
    *,
    layout=V2,
    mount=CGROUP_MOUNT,
    uid=0,
    namespaces=(CGROUP_NAMESPACE, USER_NAMESPACE),
    maps=(MAPPING,),
    rootless=False,
):
    found = plan(
        layout,
        mounts=(mount,),
        namespaces=namespaces,
        uid_mappings=maps,
        rootless=rootless,
        process=Process(user=User(uid=uid)),
    )
    return [op.uid for op in found.make if isinstance(op, ChownCgroup)]


def test_a_writable_cgroup_of_its_own_belongs_to_the_containers_user():
    assert owner() == [100000]
    assert owner(uid=1000) == [101000]
    assert owner(uid=1000, namespaces=(CGROUP_NAMESPACE,), maps=()) == [1000]


def test_else_ownership_stays():
    def with_options(*options):
        return Mount(destination="/sys/fs/cgroup", type="cgroup", options=options)

    assert owner(layout=V1) == []
    assert owner(mount=with_options("rw", "ro")) == []
    assert owner(mount=with_options("ro", "rw")) == [100000]
    assert owner(mount=Mount(destination="/other", type="cgroup")) == []
    assert owner(namespaces=(USER_NAMESPACE,)) == []
    assert owner(namespaces=(Namespace(type="cgroup", path="/x"), USER_NAMESPACE)) == []
    assert owner(uid=65536) == [], "not mapped: nobody on the host"
    assert owner(namespaces=(CGROUP_NAMESPACE, Namespace(type="user", path="/x")), maps=()) == []
    assert owner(namespaces=(CGROUP_NAMESPACE,), maps=()) == [], "root's already"
    assert owner(rootless=True) == []


# --- without permission ---------------------------------------------------------------------------


def without(layout, denied=None, **linux):
    config = Config(oci_version="1.2.0", linux=Linux(**linux))
    full = plan(layout, rootless=True, **linux)
    return plan_without(full, tuple(path for _, path in full.paths) if denied is None else denied, config)


@pytest.mark.parametrize("layout", [V1, HYBRID, V2])
def test_without_permission_and_without_limits_there_is_no_cgroup(layout):
    assert without(layout) == CgroupPlan()
    assert without(layout, resources=Resources(devices=(DeviceRule(allow=False),))) == CgroupPlan()


def test_hierarchies_with_permission_stay():
    found = without(HYBRID, denied=tuple(path for name, path in plan(HYBRID).paths if name != "systemd"))
    assert [name for name, _ in found.paths] == ["systemd"]
    assert [op.path for op in found.make] == [f"{ROOT}/systemd/init.scope/box"]
    assert [op.saves for op in found.join] == ["cgroup/systemd"]


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (V2, "rootless needs no limits + no cgrouppath when no permission is granted for cgroups"),
        (HYBRID, "cannot set pids limit: container could not join or create cgroup"),
    ],
)
def test_limits_without_permission(layout, words):
    with pytest.raises(PyruncError) as caught:
        without(layout, resources=Resources(pids_limit=5))
    assert (caught.value.kind, caught.value.where) == (DENIED, "/linux/resources/pids/limit")
    assert words in str(caught.value)
    assert "permission denied" in str(caught.value)
    assert "Delegate=yes" in caught.value.hint


def test_a_cgroup_asked_for_by_name_is_not_done_without():
    with pytest.raises(PyruncError) as caught:
        without(V2, cgroups_path="/a/box")
    assert (caught.value.kind, caught.value.where) == (DENIED, "/linux/cgroupsPath")


def test_with_permission_nothing_changes():
    assert without(V2, denied=(), resources=Resources(pids_limit=5)) == plan(
        V2, rootless=True, resources=Resources(pids_limit=5)
    )
