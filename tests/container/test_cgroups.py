"""linux.cgroupsPath and linux.resources: membership, and limits as the kernel has them."""

import os
from pathlib import Path

import pytest
from support import cgroups, host, leaks
from support.fields import covers
from support.host import needs_cgroup1, needs_cgroup2, needs_cgroupfs, needs_controller
from support.marks import deviation
from support.waiting import until

MEBIBYTE = 1 << 20


def file(runtime, bundle, controller, name1, name2):
    return cgroups.read(runtime.pid(bundle), controller, name1, name2)


# -- membership ------------------------------------------------------------------------------------------


def test_a_cgroup_of_its_own_in_every_hierarchy(runtime, running):
    own, its = cgroups.memberships(), cgroups.memberships(runtime.pid(running))
    assert set(own) == set(its)
    for controller, path in its.items():
        assert running.id in path.rpartition("/")[2], controller
    directories = leaks.cgroups(running.id)
    runtime.delete(running, force=True).ok()
    assert directories
    assert not [path for path in directories if path.exists()]


@needs_cgroupfs
@pytest.mark.parametrize("path", ["/{id}", "/{prefix}parent/{id}", "{id}", "/../../{id}", "/{id}/../{id}"])
@covers("/linux/cgroupsPath")
def test_the_path_from_the_config(runtime, bundle, path):
    bundle.linux["cgroupsPath"] = path.format(id=bundle.id, prefix=bundle.id)
    try:
        runtime.launch(bundle, "sleep", "1000")
        for controller, found in cgroups.memberships(runtime.pid(bundle)).items():
            assert found.endswith(f"{bundle.id}"), controller
            assert ".." not in found
            if path.startswith("/{prefix}"):
                assert found.endswith(f"/{bundle.id}parent/{bundle.id}")
        runtime.delete(bundle, force=True).ok()
        assert not [p for p in leaks.cgroups(bundle.id) if p.name == bundle.id]
    finally:
        for left in leaks.cgroups(f"{bundle.id}parent"):  # a parent is not the runtime's to remove
            left.rmdir()


@needs_cgroupfs
def test_a_cgroup_that_is_there_already_is_used(runtime, bundle):
    made = [Path(f"{root}/{bundle.id}") for root in {*host.CGROUP1.values(), *filter(None, [host.CGROUP2])}]
    for path in made:
        path.mkdir()
    bundle.linux["cgroupsPath"] = f"/{bundle.id}"
    runtime.run(bundle, "true").ok()


@needs_cgroupfs
@deviation("runc", reason="warns only", before="1.2")
def test_a_cgroup_with_processes_is_refused(runtime, new_bundle):
    first, second = new_bundle(), new_bundle()
    first.linux["cgroupsPath"] = second.linux["cgroupsPath"] = f"/{first.id}"
    runtime.launch(first, "sleep", "1000")
    runtime.create(second).failed("container's cgroup is not empty")
    assert runtime.status(first) == "running"
    assert cgroups.memberships(runtime.pid(first))["" if host.PURE_CGROUP2 else "pids"].endswith(first.id)


def test_children_are_in_the_cgroup(runtime, bundle):
    created = runtime.launch(bundle, "sh", "-c", "sleep 1000 & echo ready; wait")
    until(lambda: created.stdout, "the child is there")
    directory = cgroups.directory(runtime.pid(bundle), "pids")
    assert len((directory / "cgroup.procs").read_text().split()) == 2


def test_what_the_container_sees_of_its_cgroup(runtime, bundle):
    bundle.resources["pids"] = {"limit": 33}
    path = "/sys/fs/cgroup/pids.max" if host.PURE_CGROUP2 else "/sys/fs/cgroup/pids/pids.max"
    bundle.namespace("cgroup")
    assert runtime.ask(bundle, limit=f"cat {path}") == {"limit": "33"}


# -- limits ----------------------------------------------------------------------------------------------


@needs_controller("memory")
@covers("/linux/resources/memory/(limit|reservation)")
def test_memory(runtime, bundle):
    bundle.resources["memory"] = {"limit": 64 * MEBIBYTE, "reservation": 32 * MEBIBYTE}
    runtime.launch(bundle, "sleep", "1000")
    assert file(runtime, bundle, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MEBIBYTE)
    assert file(runtime, bundle, "memory", "memory.soft_limit_in_bytes", "memory.low") == str(32 * MEBIBYTE)


@needs_controller("memory")
@covers("/linux/resources/memory/swap")
def test_the_kernel_enforces_the_memory_limit(runtime, bundle):
    """dd holds its whole buffer."""
    bundle.resources["memory"] = {"limit": 32 * MEBIBYTE, "swap": 32 * MEBIBYTE}
    answers = runtime.ask(
        bundle, small="dd if=/dev/zero of=/dev/null bs=4M count=1 && echo fits",
        large="dd if=/dev/zero of=/dev/null bs=100M count=1; echo $?",
    )  # fmt: skip
    assert answers["small"].endswith("fits")
    assert answers["large"].split()[-1] == str(128 + 9)


@needs_controller("memory")
@pytest.mark.parametrize("mebibytes", [6, 8])
def test_a_small_memory_limit_is_enough_for_a_small_program(runtime, bundle, mebibytes):
    """What the runtime itself needs is not the container's to pay for."""
    bundle.resources["memory"] = {"limit": mebibytes * MEBIBYTE, "swap": mebibytes * MEBIBYTE}
    assert runtime.run(bundle, "echo", "fine").ok().stdout == "fine\n"
    runtime.launch(bundle, "sleep", "1000")
    assert runtime.exec(bundle, "echo", "too").ok().stdout == "too\n"


@needs_cgroup1
@needs_controller("memory")
@covers("/linux/resources/memory/(swappiness|disableOOMKiller)")
def test_memory_details_of_v1(runtime, bundle):
    bundle.resources["memory"] = {
        "limit": 64 * MEBIBYTE,
        "swap": 96 * MEBIBYTE,
        "swappiness": 7,
        "disableOOMKiller": True,
    }
    runtime.launch(bundle, "sleep", "1000")
    directory = cgroups.directory(runtime.pid(bundle), "memory")
    assert (directory / "memory.memsw.limit_in_bytes").read_text().strip() == str(96 * MEBIBYTE)
    assert (directory / "memory.swappiness").read_text().strip() == "7"
    assert "oom_kill_disable 1" in (directory / "memory.oom_control").read_text()


@needs_cgroup2
@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({"limit": 64 * MEBIBYTE, "swap": 96 * MEBIBYTE}, str(32 * MEBIBYTE)),
        ({"limit": 64 * MEBIBYTE, "swap": 64 * MEBIBYTE}, "0"),
        ({"limit": 64 * MEBIBYTE, "swap": -1}, "max"),
    ],
)
def test_swap_of_v2_does_not_count_memory(runtime, bundle, memory, expected):
    bundle.resources["memory"] = memory
    runtime.launch(bundle, "sleep", "1000")
    assert file(runtime, bundle, "memory", "", "memory.swap.max") == expected


@covers("/linux/resources/pids/limit")
def test_the_kernel_enforces_the_number_of_pids(runtime, bundle):
    bundle.resources["pids"] = {"limit": 5}
    done = runtime.run(bundle, "sh", "-c", "for n in 1 2 3 4 5 6 7; do sleep 1000 & echo $n; done")
    assert done.returncode != 0, done
    assert done.stdout.split() == ["1", "2", "3", "4"]
    assert "can't fork" in done.stderr


@pytest.mark.parametrize("limit", [-1, 7, 4_000_000])
def test_the_number_of_pids(runtime, bundle, limit):
    bundle.resources["pids"] = {"limit": limit}
    runtime.launch(bundle, "sleep", "1000")
    assert file(runtime, bundle, "pids", "pids.max", "pids.max") == ("max" if limit < 0 else str(limit))


@deviation("runc", reason="takes 0 for no limit", before="1.4")
def test_no_pids_at_all_is_as_few_as_can_be(runtime, bundle):
    bundle.resources["pids"] = {"limit": 0}
    runtime.launch(bundle, "sleep", "1000")
    assert file(runtime, bundle, "pids", "pids.max", "pids.max") == "1"


@needs_controller("cpu")
@covers("/linux/resources/cpu/(quota|period)")
def test_cpu_quota_and_period(runtime, bundle):
    bundle.resources["cpu"] = {"quota": 25_000, "period": 50_000}
    runtime.launch(bundle, "sleep", "1000")
    if host.PURE_CGROUP2:
        assert file(runtime, bundle, "cpu", "", "cpu.max") == "25000 50000"
    else:
        assert file(runtime, bundle, "cpu", "cpu.cfs_quota_us", "") == "25000"
        assert file(runtime, bundle, "cpu", "cpu.cfs_period_us", "") == "50000"


@needs_controller("cpu")
def test_the_kernel_enforces_the_quota(runtime, bundle):
    bundle.resources["cpu"] = {"quota": 10_000, "period": 100_000}
    runtime.launch(bundle, "sh", "-c", "while :; do :; done")

    def throttled() -> int:
        stat = file(runtime, bundle, "cpu", "cpu.stat", "cpu.stat")
        return int(dict(line.split() for line in stat.splitlines())["nr_throttled"])

    until(throttled, "it has to wait")


@needs_cgroup1
@needs_controller("cpu")
@pytest.mark.parametrize("shares", [2, 512, 1024, 262_144])
@covers("/linux/resources/cpu/shares")
def test_cpu_shares(runtime, bundle, shares):
    bundle.resources["cpu"] = {"shares": shares}
    runtime.launch(bundle, "sleep", "1000")
    assert file(runtime, bundle, "cpu", "cpu.shares", "") == str(shares)


_LINEAR = deviation("runc", reason="converts linearly, which makes 39 of the default", before="1.3.2")


@needs_cgroup2
@needs_controller("cpu")
@pytest.mark.parametrize(
    ("shares", "weight"),
    [
        (2, 1),
        (262_144, 10_000),
        pytest.param(512, 59, marks=_LINEAR),
        pytest.param(1024, 100, marks=_LINEAR),
        pytest.param(2048, 174, marks=_LINEAR),
    ],
)
@covers("/linux/resources/cpu/shares")
def test_cpu_shares_become_a_weight(runtime, bundle, shares, weight):
    """The default of one is the default of the other, and so are both ends."""
    bundle.resources["cpu"] = {"shares": shares}
    runtime.launch(bundle, "sleep", "1000")
    assert file(runtime, bundle, "cpu", "", "cpu.weight") == str(weight)


@needs_controller("cpuset")
@covers("/linux/resources/cpu/(cpus|mems)")
def test_cpuset(runtime, bundle):
    bundle.resources["cpu"] = {"cpus": "0", "mems": "0"}
    runtime.launch(bundle, "sleep", "1000")
    assert file(runtime, bundle, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    assert (
        runtime.exec(bundle, "grep", "Cpus_allowed_list", "/proc/self/status").ok().stdout.split()[1] == "0"
    )


@needs_controller("cpu")
@deviation("runc", reason="does not know burst and idle", before="1.2")
@covers("/linux/resources/cpu/(burst|idle)")
def test_cpu_burst_and_idle(runtime, bundle):
    bundle.resources["cpu"] = {"quota": 20_000, "period": 50_000, "burst": 10_000}
    runtime.launch(bundle, "sleep", "1000")
    assert file(runtime, bundle, "cpu", "cpu.cfs_burst_us", "cpu.max.burst") == "10000"
    runtime.delete(bundle, force=True).ok()
    bundle.resources["cpu"] = {"idle": 1}
    runtime.launch(bundle, "sleep", "1000")
    assert file(runtime, bundle, "cpu", "cpu.idle", "cpu.idle") == "1"


def _block_device():
    """Any disk of the host: its numbers are enough."""
    for name in sorted(os.listdir("/sys/block")):
        if Path(f"/sys/block/{name}/device").exists():
            major, minor = Path(f"/sys/block/{name}/dev").read_text().split(":")
            return int(major), int(minor)
    return None


@needs_controller("io" if host.PURE_CGROUP2 else "blkio")
@pytest.mark.skipif(_block_device() is None, reason="no disk")
@covers("/linux/resources/blockIO/(throttleReadBpsDevice|throttleWriteIOPSDevice)/*/(major|minor|rate)")
def test_block_io(runtime, bundle):
    major, minor = _block_device()
    rate = {"major": major, "minor": minor, "rate": 1_048_576}
    bundle.resources["blockIO"] = {
        "throttleReadBpsDevice": [rate],
        "throttleWriteIOPSDevice": [{**rate, "rate": 99}],
    }
    runtime.launch(bundle, "sleep", "1000")
    if host.PURE_CGROUP2:
        line = file(runtime, bundle, "io", "", "io.max")
        assert line.split()[0] == f"{major}:{minor}"
        assert {"rbps=1048576", "wiops=99"} <= set(line.split())
    else:
        directory = cgroups.directory(runtime.pid(bundle), "blkio")
        for name, value in (("read_bps", 1_048_576), ("write_iops", 99)):
            text = (directory / f"blkio.throttle.{name}_device").read_text().strip()
            assert text == f"{major}:{minor} {value}"


@needs_cgroup1
@deviation("runc", reason="ignores unified", before="1.1")
def test_unified_settings_need_v2(runtime, bundle):
    bundle.resources["unified"] = {"memory.high": "1000000"}
    runtime.run(bundle, "true").failed("unified")


@needs_cgroup2
@covers("/linux/resources/unified")
def test_unified_settings(runtime, bundle):
    bundle.resources["unified"] = {"memory.high": str(50 * MEBIBYTE), "pids.max": "44"}
    runtime.launch(bundle, "sleep", "1000")
    assert file(runtime, bundle, "memory", "", "memory.high") == str(50 * MEBIBYTE)
    assert file(runtime, bundle, "pids", "", "pids.max") == "44"


@needs_cgroup2
@pytest.mark.parametrize("key", ["memory.nonsense", "nonsense.max", "../cgroup.procs", "memory"])
def test_unknown_unified_settings(runtime, bundle, key):
    bundle.resources["unified"] = {key: "1"}
    done = runtime.run(bundle, "true").failed("unified")
    assert key in done.said or key.replace("/", "~1") in done.said  # as it is, or in a JSON pointer


@pytest.mark.parametrize(
    "resources",
    [
        {"cpu": {"cpus": "4000"}},
        {"cpu": {"quota": 1}},
        {"memory": {"limit": 64 * MEBIBYTE, "swap": 32 * MEBIBYTE}},
        {"cpu": {"shares": "many"}},
        {"pids": {"limit": "many"}},
    ],
    ids=["no such cpu", "quota too small", "swap below limit", "words for shares", "words for pids"],
)
def test_a_limit_that_the_kernel_refuses_is_an_error(runtime, bundle, resources):
    bundle.resources.update(resources)
    runtime.run(bundle, "true").failed()
