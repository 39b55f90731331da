"""Cgroups of an ordinary user: a scope of his own systemd, or what was delegated to him without one."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support import cgroups, leaks
from support.bundle import PREFIX
from support.facts import mounts
from support.host import CGROUP2, needs_cgroup2, needs_systemd, without_systemd
from support.runtime import Runtime

pytestmark = [
    needs_cgroup2,
    pytest.mark.skipif(os.geteuid() == 0, reason="for an ordinary user, with a cgroup of his own"),
]
SYSTEMD = {"before": ("--systemd-cgroup",)}
MEBIBYTE = 1 << 20
LIMITS = {
    "memory": {"limit": 64 * MEBIBYTE, "reservation": 32 * MEBIBYTE, "swap": 96 * MEBIBYTE},
    "cpu": {"shares": 2048, "quota": 25_500, "period": 50_000, "cpus": "0"},
    "pids": {"limit": 21},
}
FILES = {
    "memory.max": str(64 * MEBIBYTE), "memory.low": str(32 * MEBIBYTE), "memory.swap.max": str(32 * MEBIBYTE),
    "cpu.weight": "174", "cpu.max": "25500 50000", "cpuset.cpus": "0", "pids.max": "21",
}  # fmt: skip


@pytest.fixture
def runtime(runtime_command, work):
    """As the general one, without root."""
    watch = leaks.Watch(work, f"{PREFIX}{os.getpid()}-")
    made = Runtime(runtime_command, work, watch)
    yield made
    made.clean()
    watch.require_clean()


@pytest.fixture
def mine(runtime, bundle):
    """The bundle of `spec --rootless`: his id is the container's root."""
    runtime("spec", "--rootless", "--bundle", bundle.path).ok()
    bundle.config = json.loads((bundle.path / "config.json").read_text())
    bundle.process["terminal"] = False
    bundle.linux.setdefault("resources", {})
    return bundle


def files(runtime, bundle):
    return {name: cgroups.read(runtime.pid(bundle), "", "", name) for name in FILES}


def writable_cgroup(bundle):
    """The container sees its own cgroup alone, and may write there."""
    bundle.namespace("cgroup")
    bundle.config["mounts"] = [
        entry for entry in bundle.config["mounts"] if entry["destination"] != "/sys/fs/cgroup"
    ]
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "rw")


def require_own_part(runtime, bundle):
    """It divides what it has; more it can't take, where the boundary of a namespace is one of delegation."""
    made = runtime.exec(
        bundle, "sh", "-c",
        "cd /sys/fs/cgroup && mkdir inner && echo 0 > inner/cgroup.procs && cat /proc/self/cgroup",
    )  # fmt: skip
    assert made.ok().stdout == "0::/inner\n"
    (own,) = [
        mount for mount in mounts(Path("/proc/self/mountinfo").read_text()) if mount.fstype == "cgroup2"
    ]
    if "nsdelegate" in own.super_options:
        more = runtime.exec(bundle, "sh", "-c", "echo max > /sys/fs/cgroup/pids.max")
        assert more.returncode != 0
        assert cgroups.read(runtime.pid(bundle), "", "", "pids.max") == "21"


def show(unit, name):
    command = ["systemctl", "--user", "show", f"--property={name}", "--value", unit]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@needs_systemd
class TestScopeOfTheUser:
    def test_is_made_by_the_users_manager(self, runtime, mine):
        mine.resources.update(LIMITS)
        runtime.launch(mine, "sleep", "1000", **SYSTEMD)
        unit = f"pyrunc-{mine.id}.scope"
        path = cgroups.memberships(runtime.pid(mine))[""]
        assert path == show(unit, "ControlGroup")
        assert f"/user@{os.geteuid()}.service/user.slice/{unit}" in path
        assert files(runtime, mine) == FILES
        assert (show(unit, "TasksMax"), show(unit, "AllowedCPUs")) == ("21", "0")
        runtime("update", "--pids-limit", "22", "--memory", "-1", mine.id).ok()
        assert files(runtime, mine) == FILES | {
            "pids.max": "22", "memory.max": "max", "memory.swap.max": "max",
        }  # fmt: skip
        assert (show(unit, "TasksMax"), show(unit, "MemoryMax")) == ("22", "infinity")
        assert runtime.exec(mine, "echo", "fine").ok().stdout == "fine\n"
        runtime.delete(mine, force=True).ok()
        assert show(unit, "LoadState") == "not-found"

    def test_is_in_a_slice_of_the_user(self, runtime, mine):
        mine.linux["cgroupsPath"] = f"pyrunctest-inner.slice:box:{mine.id}"
        runtime.launch(mine, "sleep", "1000", **SYSTEMD)
        path = cgroups.memberships(runtime.pid(mine))[""]
        assert path.endswith(f"service/pyrunctest.slice/pyrunctest-inner.slice/box-{mine.id}.scope")

    def test_is_the_containers_to_divide(self, runtime, mine):
        mine.resources.update(LIMITS)
        writable_cgroup(mine)
        runtime.launch(mine, "sleep", "1000", **SYSTEMD)
        require_own_part(runtime, mine)

    def test_is_paused_and_resumed(self, runtime, mine):
        runtime.launch(mine, "sleep", "1000", **SYSTEMD)
        runtime("pause", mine.id).ok()
        assert runtime.status(mine) == "paused"
        runtime("resume", mine.id).ok()
        assert runtime.status(mine) == "running"

    def test_is_found_without_a_bus_by_the_runtime_directory(self, runtime, mine):
        environment = {name: os.environ[name] for name in ("XDG_RUNTIME_DIR", "PATH")}
        assert runtime.run(mine, "echo", "fine", env=environment, **SYSTEMD).ok().stdout == "fine\n"

    def test_is_missed_in_clear_words(self, runtime, mine):
        created = runtime.create(mine, env={"PATH": "/usr/bin:/bin"}, **SYSTEMD)
        created.failed("cannot reach systemd of this user", "DBUS_SESSION_BUS_ADDRESS")


@without_systemd
class TestDelegated:
    def test_limits_hold(self, runtime, mine):
        mine.resources.update(LIMITS)
        runtime.launch(mine, "sleep", "1000")
        assert files(runtime, mine) == FILES
        runtime("update", "--pids-limit", "22", mine.id).ok()
        assert files(runtime, mine) == FILES | {"pids.max": "22"}
        assert runtime.exec(mine, "echo", "fine").ok().stdout == "fine\n"
        runtime.delete(mine, force=True).ok()
        assert not leaks.cgroups(mine.id)

    def test_it_is_the_containers_to_divide(self, runtime, mine):
        mine.resources.update(LIMITS)
        writable_cgroup(mine)
        runtime.launch(mine, "sleep", "1000")
        require_own_part(runtime, mine)

    def test_elsewhere_it_is_said_that_it_takes_delegation(self, runtime, mine):
        mine.linux["cgroupsPath"] = f"/{mine.id}"
        assert not os.access(CGROUP2, os.W_OK)
        created = runtime.create(mine, "true")
        created.failed(
            "failed to create cgroup", "/linux/cgroupsPath: permission denied", "delegate a cgroup"
        )
