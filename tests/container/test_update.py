"""update: limits of a container that runs, by options or by a document."""

import json
import os

import pytest
from support import cgroups, host
from support.host import needs_controller

MEBIBYTE = 1 << 20


def file(runtime, bundle, controller, name1, name2):
    return cgroups.read(runtime.pid(bundle), controller, name1, name2)


@needs_controller("memory")
@needs_controller("cpu")
def test_update_by_options(runtime, bundle):
    bundle.resources["memory"] = {"limit": 64 * MEBIBYTE, "swap": 64 * MEBIBYTE}
    runtime.launch(bundle, "sleep", "1000")
    runtime(
        "update", "--memory", "48m", "--memory-swap", "80M", "--memory-reservation", "10MB",
        "--pids-limit", "17", "--cpu-share", "2048", "--cpu-quota", "30000", "--cpu-period", "60000",
        bundle.id,
    ).ok()  # fmt: skip
    assert file(runtime, bundle, "memory", "memory.limit_in_bytes", "memory.max") == str(48 * MEBIBYTE)
    assert file(runtime, bundle, "pids", "pids.max", "pids.max") == "17"
    if host.PURE_CGROUP2:
        assert file(runtime, bundle, "memory", "", "memory.swap.max") == str(32 * MEBIBYTE)
        assert file(runtime, bundle, "cpu", "", "cpu.max") == "30000 60000"
    else:
        assert file(runtime, bundle, "memory", "memory.memsw.limit_in_bytes", "") == str(80 * MEBIBYTE)
        assert file(runtime, bundle, "cpu", "cpu.shares", "") == "2048"
        assert file(runtime, bundle, "cpu", "cpu.cfs_quota_us", "") == "30000"
        assert file(runtime, bundle, "cpu", "cpu.cfs_period_us", "") == "60000"


@pytest.mark.parametrize("place", ["-", "file"])
def test_update_by_a_document(runtime, running, work, place):
    document = json.dumps({"pids": {"limit": 19}, "memory": {"limit": 64 * MEBIBYTE}})
    if place == "-":
        runtime("update", "--resources=-", running.id, input=document).ok()
    else:
        (work / "resources.json").write_text(document)
        runtime("update", "--resources", work / "resources.json", running.id).ok()
    assert file(runtime, running, "pids", "pids.max", "pids.max") == "19"
    assert file(runtime, running, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MEBIBYTE)


@pytest.mark.parametrize("place", ["-", "file"])
def test_what_is_wrong_with_a_document_is_said(runtime, running, work, place):
    """By whoever explains it, which may be another process: what was read once can be read again."""
    document = json.dumps({"pids": {"limit": "many"}})
    (work / "resources.json").write_text(document)
    words = ("-",) if place == "-" else (work / "resources.json",)
    done = runtime("update", "--resources", *words, running.id, input=document if place == "-" else None)
    assert done.returncode == 1
    assert "limit" in done.stderr, done


@needs_controller("cpu")
def test_update_of_the_quota_alone_keeps_the_period(runtime, bundle):
    bundle.resources["cpu"] = {"quota": 25_000, "period": 50_000}
    runtime.launch(bundle, "sleep", "1000")

    def quota():
        if host.PURE_CGROUP2:
            return tuple(file(runtime, bundle, "cpu", "", "cpu.max").split())
        return tuple(file(runtime, bundle, "cpu", f"cpu.cfs_{name}_us", "") for name in ("quota", "period"))

    runtime("update", "--cpu-quota", "40000", bundle.id).ok()
    assert quota() == ("40000", "50000")
    runtime("update", "--cpu-period", "80000", bundle.id).ok()
    assert quota() == ("40000", "80000")
    runtime("update", "--cpu-quota", "-1", bundle.id).ok()
    assert quota() == ("max" if host.PURE_CGROUP2 else "-1", "80000")


@needs_controller("memory")
def test_update_to_no_limit(runtime, bundle):
    bundle.resources.update(memory={"limit": 64 * MEBIBYTE}, pids={"limit": 9})
    runtime.launch(bundle, "sleep", "1000")
    runtime("update", "--memory", "-1", "--pids-limit", "-1", bundle.id).ok()
    assert file(runtime, bundle, "pids", "pids.max", "pids.max") == "max"
    found = file(runtime, bundle, "memory", "memory.limit_in_bytes", "memory.max")
    assert found == "max" or int(found) > 1 << 60


def test_update_leaves_the_device_rules_alone(runtime, bundle):
    bundle.allow("CAP_MKNOD")
    os.mknod(bundle.rootfs / "mem", 0o20666, os.makedev(1, 1))
    runtime.launch(bundle, "sleep", "1000")
    runtime("update", "--resources=-", bundle.id, input='{"pids": {"limit": 99}}').ok()
    answers = runtime.ask_exec(bundle, read="head -c 1 /mem || true", null="echo > /dev/null && echo fine")
    assert "Operation not permitted" in answers["read"]
    assert answers["null"] == "fine"


def test_update_is_remembered(runtime, running):
    """A second update must not bring back what the first has changed."""
    runtime("update", "--pids-limit", "21", running.id).ok()
    runtime("update", "--memory", "64m", running.id).ok()
    assert file(runtime, running, "pids", "pids.max", "pids.max") == "21"


@pytest.mark.skipif(os.path.isdir("/sys/fs/resctrl/info"), reason="there is resctrl")
@pytest.mark.parametrize("option", ["--l3-cache-schema=L3:0=f", "--mem-bw-schema=MB:0=50"])
def test_shares_of_the_cache_where_there_are_none(runtime, running, option):
    runtime("update", option, running.id).failed("Intel RDT")


@pytest.mark.parametrize(
    "words",
    [
        ("--memory", "much"),
        ("--cpu-quota", "much"),
        ("--pids-limit", "x"),
        ("--cpuset-cpus", "4000"),
        ("--resources", "/no/such"),
    ],
    ids=" ".join,
)
def test_a_bad_update_changes_nothing(runtime, bundle, words):
    bundle.resources["pids"] = {"limit": 13}
    runtime.launch(bundle, "sleep", "1000")
    runtime("update", *words, bundle.id).failed()
    assert file(runtime, bundle, "pids", "pids.max", "pids.max") == "13"


def test_update_of_a_created_container(runtime, bundle):
    runtime.create(bundle, "sleep", "1000").ok()
    runtime("update", "--pids-limit", "15", bundle.id).ok()
    assert file(runtime, bundle, "pids", "pids.max", "pids.max") == "15"
