"""--systemd-cgroup as an ordinary user, whose own systemd makes the scope, of delegated controllers."""

import os
import subprocess

import pytest
from support import cgroups, leaks
from support.bundle import PREFIX
from support.host import needs_systemd
from support.runtime import Runtime

pytestmark = [
    needs_systemd,
    pytest.mark.skipif(os.geteuid() == 0, reason="for an ordinary user in a session of his own"),
]
SYSTEMD = {"before": ("--systemd-cgroup",)}


@pytest.fixture
def runtime(runtime_command, work):
    """As the general one, without root."""
    watch = leaks.Watch(work, f"{PREFIX}{os.getpid()}-")
    made = Runtime(runtime_command, work, watch)
    yield made
    made.clean()
    watch.require_clean()


@pytest.fixture
def mine(bundle):
    """A bundle for a user: his id is the container's root."""
    bundle.namespace("user")
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    for mount in bundle.config["mounts"]:
        mount["options"] = [option for option in mount.get("options", []) if option != "gid=5"]
    return bundle


def show(unit, name):
    command = ["systemctl", "--user", "show", f"--property={name}", "--value", unit]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_scope_of_the_users_manager(runtime, mine):
    mine.resources["pids"] = {"limit": 21}
    mine.resources["memory"] = {"limit": 64 << 20}
    runtime.launch(mine, "sleep", "1000", **SYSTEMD)
    unit = f"pyrunc-{mine.id}.scope"
    path = cgroups.memberships(runtime.pid(mine))[""]
    assert path == show(unit, "ControlGroup")
    assert f"/user@{os.geteuid()}.service/user.slice/{unit}" in path
    assert cgroups.read(runtime.pid(mine), "", "", "pids.max") == "21"
    assert cgroups.read(runtime.pid(mine), "", "", "memory.max") == str(64 << 20)
    assert show(unit, "TasksMax") == "21"
    runtime("update", "--pids-limit", "22", mine.id).ok()
    assert (cgroups.read(runtime.pid(mine), "", "", "pids.max"), show(unit, "TasksMax")) == ("22", "22")
    assert runtime.exec(mine, "echo", "fine").ok().stdout == "fine\n"
    runtime.delete(mine, force=True).ok()
    assert show(unit, "LoadState") == "not-found"


def test_without_a_bus_it_is_said_what_is_missing(runtime, mine):
    created = runtime.create(mine, env={"PATH": "/usr/bin:/bin"}, **SYSTEMD)
    created.failed("cannot reach systemd of this user", "DBUS_SESSION_BUS_ADDRESS")
