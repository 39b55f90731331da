"""cgroupsPath and resources, read in the hierarchies of the host, v1 or v2."""

import os
from pathlib import Path

import pytest
from support import host
from support.bundle import PREFIX
from support.host import needs_cgroup1, needs_cgroup2, needs_controller

from conformance.clauses import requirement


def cgroup_of(pid, controller):
    """The directory of the process in the hierarchy of the controller."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if host.PURE_CGROUP2:
            if names == "":
                return Path(f"{host.CGROUP2}{path}")
        elif controller in names.split(","):
            return Path(f"{host.CGROUP1[controller]}{path}")
    raise AssertionError(f"{pid} is in no cgroup of {controller}")


def value(runtime, bundle, controller, v1, v2):
    """What the file of the running container's cgroup says."""
    runtime.launch(bundle, "sleep", "1000")
    directory = cgroup_of(runtime.pid(bundle), controller)
    return (directory / (v2 if host.PURE_CGROUP2 else v1)).read_text().strip()


@requirement("CgroupsPathAbsOrRel", "CgroupsAbsPathRelToMount")
@needs_controller("pids")
def test_an_absolute_path_is_below_the_mount(runtime, bundle):
    bundle.linux["cgroupsPath"] = f"/{PREFIX}{os.getpid()}-parent/{bundle.id}"
    bundle.resources["pids"] = {"limit": 50}
    runtime.launch(bundle, "sleep", "1000")
    root = host.CGROUP2 if host.PURE_CGROUP2 else host.CGROUP1["pids"]
    found = Path(f"{root}/{PREFIX}{os.getpid()}-parent/{bundle.id}")
    try:
        assert str(runtime.pid(bundle)) in (found / "cgroup.procs").read_text().split()
    finally:
        runtime.delete(bundle, force=True)
        remove_parents()


def remove_parents():
    """A runtime need not remove the parent that it made."""
    for root in {*host.CGROUP1.values(), *([host.CGROUP2] if host.CGROUP2 else [])}:
        parent = Path(f"{root}/{PREFIX}{os.getpid()}-parent")
        if parent.is_dir():
            parent.rmdir()


@requirement("CgroupsPathAbsOrRel", "CgroupsPathAttach")
@needs_controller("pids")
@pytest.mark.parametrize("slash", ["/", ""], ids=["absolute", "relative"])
def test_the_same_path_is_the_same_place(runtime, bundle, slash):
    bundle.linux["cgroupsPath"] = f"{slash}{PREFIX}{os.getpid()}-same"
    seen = set()
    for _ in range(2):
        runtime.launch(bundle, "sleep", "1000")
        seen.add(cgroup_of(runtime.pid(bundle), "pids"))
        runtime.stop(bundle)
        runtime.delete(bundle).ok()
    assert len(seen) == 1
    assert f"{PREFIX}{os.getpid()}-same" in str(seen.pop())


@requirement("CgroupsPathError")
@needs_controller("pids")
def test_a_path_that_cannot_be(bundle, refused):
    """No path can be of this length."""
    bundle.linux["cgroupsPath"] = f"/{PREFIX}{'x' * 5000}"
    refused()


@requirement("CgroupsDeleted", "DeleteResImplement")
@needs_controller("pids")
def test_cgroups_are_removed_by_delete(runtime, bundle):
    runtime.launch(bundle, "sleep", "1000")
    directory = cgroup_of(runtime.pid(bundle), "pids")
    assert directory.is_dir()
    runtime.stop(bundle)
    runtime.delete(bundle).ok()
    assert not directory.exists()


@requirement("ResourcesMemory")
@needs_controller("memory")
def test_the_memory_limit(runtime, bundle):
    bundle.resources["memory"] = {"limit": 64 << 20}
    assert value(runtime, bundle, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)


@requirement("ResourcesMemory")
@needs_controller("memory")
def test_the_memory_reservation(runtime, bundle):
    bundle.resources["memory"] = {"reservation": 32 << 20}
    found = value(runtime, bundle, "memory", "memory.soft_limit_in_bytes", "memory.low")
    assert found == str(32 << 20)


@requirement("ResourcesCpu")
@needs_controller("cpu")
def test_the_cpu_quota(runtime, bundle):
    bundle.resources["cpu"] = {"quota": 20_000, "period": 50_000}
    found = value(runtime, bundle, "cpu", "cpu.cfs_quota_us", "cpu.max")
    assert found == ("20000 50000" if host.PURE_CGROUP2 else "20000")


@requirement("ResourcesCpu")
@needs_cgroup1
@needs_controller("cpu")
def test_the_cpu_shares(runtime, bundle):
    """v2 has weights, and more than one way to convert."""
    bundle.resources["cpu"] = {"shares": 512}
    assert value(runtime, bundle, "cpu", "cpu.shares", "") == "512"


@requirement("ResourcesCpuset")
@needs_controller("cpuset")
def test_the_cpus(runtime, bundle):
    bundle.resources["cpu"] = {"cpus": "0", "mems": "0"}
    assert value(runtime, bundle, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"


@requirement("ResourcesPids")
@needs_controller("pids")
@pytest.mark.parametrize(("limit", "seen"), [(77, "77"), (-1, "max")])
def test_the_limit_of_processes(runtime, bundle, limit, seen):
    bundle.resources["pids"] = {"limit": limit}
    assert value(runtime, bundle, "pids", "pids.max", "pids.max") == seen


@requirement("ResourcesHugepages")
@needs_controller("hugetlb")
def test_the_limit_of_huge_pages(runtime, bundle):
    size = sorted(os.listdir("/sys/kernel/mm/hugepages"))[-1]  # hugepages-2048kB
    kilobytes = int(size.removeprefix("hugepages-").removesuffix("kB"))
    name = f"{kilobytes >> 20}GB" if kilobytes >> 20 else f"{kilobytes >> 10}MB"
    bundle.resources["hugepageLimits"] = [{"pageSize": name, "limit": kilobytes << 11}]
    found = value(runtime, bundle, "hugetlb", f"hugetlb.{name}.limit_in_bytes", f"hugetlb.{name}.max")
    assert found == str(kilobytes << 11)


@requirement("ResourcesNetwork")
@needs_cgroup1
@needs_controller("net_cls")
def test_the_class_of_packets(runtime, bundle):
    bundle.resources["network"] = {"classID": 0x100001}
    assert value(runtime, bundle, "net_cls", "net_cls.classid", "") == str(0x100001)


@requirement("ResourcesNetwork")
@needs_cgroup1
@needs_controller("net_prio")
def test_the_priorities_of_packets(runtime, bundle):
    """Of a device of the runtime's network namespace, for that is whose names the kernel takes."""
    bundle.resources["network"] = {"priorities": [{"name": "lo", "priority": 7}]}
    assert "lo 7" in value(runtime, bundle, "net_prio", "net_prio.ifpriomap", "").splitlines()


@pytest.fixture
def weighed_disk(runtime, new_bundle):
    """The numbers of a disk whose weight can be set here, by the same runtime."""
    for name in sorted(os.listdir("/sys/block")):
        major, minor = (int(word) for word in Path(f"/sys/block/{name}/dev").read_text().split(":"))
        bundle = new_bundle()
        numbers = {"major": major, "minor": minor}
        bundle.resources["blockIO"] = {"weightDevice": [{**numbers, "weight": 400}]}
        if runtime.create(bundle, "true").returncode != 0:
            continue
        directory = cgroup_of(runtime.pid(bundle), "io" if host.PURE_CGROUP2 else "blkio")
        weights = "".join(path.read_text() for path in directory.glob("*weight*"))
        runtime.delete(bundle, force=True).ok()
        if f"{major}:{minor} 400\n" in weights:
            return numbers
    pytest.skip("no disk here has a weight that can be set")


@requirement("BlkIOWeightOrLeafWeightExist")
def test_a_disk_without_a_weight(bundle, refused, weighed_disk):
    bundle.resources["blockIO"] = {"weightDevice": [weighed_disk]}
    refused()


@requirement("ResourcesUnified")
@needs_cgroup2
def test_unified(runtime, bundle):
    bundle.resources["unified"] = {"pids.max": "55"}
    assert value(runtime, bundle, "pids", "", "pids.max") == "55"


@requirement("ResourcesUnifiedError")
@needs_cgroup2
def test_a_file_that_cgroup_v2_does_not_have(bundle, refused):
    bundle.resources["unified"] = {"memory.no-such-file": "1"}
    refused()


@requirement("DevicesApplyInOrder")
@pytest.mark.parametrize("allowed", [True, False])
def test_the_last_device_rule_wins(runtime, bundle, allowed):
    """The numbers are for experiments: where the rules allow it, the kernel says that there is no device."""
    rule = {"type": "c", "major": 240, "minor": 1, "access": "rwm"}
    bundle.resources["devices"] = [
        {"allow": False, "access": "rwm"}, {"allow": not allowed, **rule}, {"allow": allowed, **rule}
    ]  # fmt: skip
    bundle.linux["devices"] = [{"path": "/dev/under-test", "fileMode": 0o666, **rule}]
    del bundle.linux["devices"][0]["access"]
    answer = runtime.ask(bundle, opened="cat /dev/under-test")["opened"]
    assert ("not permitted" in answer) == (not allowed), answer


@requirement("CgroupsOwnershipV2")
@needs_cgroup2
def test_a_writable_cgroup_belongs_to_the_containers_root(runtime, bundle):
    bundle.map_ids()
    bundle.namespace("cgroup")
    bundle.unmount("/sys/fs/cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "rw")
    answers = runtime.ask(bundle, owner="stat -c %u /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs")
    assert answers["owner"].split() == ["0", "0"]


@requirement("CgroupsOwnershipOther")
@needs_controller("pids")
def test_the_owner_of_a_cgroup_is_left_alone(runtime, bundle):
    """The cgroup is mounted read-only, and on v1."""
    bundle.map_ids()
    runtime.launch(bundle, "sleep", "1000")
    directory = cgroup_of(runtime.pid(bundle), "pids")
    assert (directory.stat().st_uid, (directory / "cgroup.procs").stat().st_uid) == (0, 0)
