"""--systemd-cgroup, --cgroup-manager: the cgroup as a unit of systemd, or none."""

import subprocess

import pytest
from support import cgroups, leaks
from support.host import needs_systemd, without_systemd
from support.systemd import SYSTEMD, is_known, show, unit_of
from support.waiting import until

MEBIBYTE = 1 << 20


@pytest.fixture
def scoped(bundle):
    """The bundle of a container whose scope is named after it."""
    bundle.linux["cgroupsPath"] = f"system.slice::{bundle.id}"
    return bundle


@needs_systemd
class TestScope:
    def test_is_where_systemd_would_look_for_it(self, runtime, scoped):
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        path = f"/system.slice/{unit_of(scoped)}"
        assert cgroups.memberships(runtime.pid(scoped))[""] == path
        shown = show(unit_of(scoped), "ActiveState", "ControlGroup", "Delegate", "Slice", "Description")
        assert shown == {
            "ActiveState": "active",
            "ControlGroup": path,
            "Delegate": "yes",
            "Slice": "system.slice",
            "Description": f"pyrunc container {scoped.id}",
        }
        runtime.delete(scoped, force=True).ok()
        assert not is_known(unit_of(scoped))
        assert not leaks.cgroups(scoped.id)

    def test_has_a_name_of_prefix_and_id_without_a_path(self, runtime, bundle):
        runtime.launch(bundle, "sleep", "1000", **SYSTEMD)
        found = cgroups.memberships(runtime.pid(bundle))[""]
        assert found == f"/system.slice/pyrunc-{bundle.id}.scope"

    @pytest.mark.parametrize(
        ("path", "place"),
        [
            ("pyrunctest-inner.slice:box:{id}", "/pyrunctest.slice/pyrunctest-inner.slice/box-{id}.scope"),
            (":box:{id}", "/system.slice/box-{id}.scope"),
            ("system.slice::{id}", "/system.slice/{id}.scope"),
            ("-.slice:box:{id}", "/box-{id}.scope"),
        ],
    )
    def test_is_in_the_slice_asked_for(self, runtime, bundle, path, place):
        bundle.linux["cgroupsPath"] = path.format(id=bundle.id)
        runtime.launch(bundle, "sleep", "1000", before=("--cgroup-manager", "systemd"))
        assert cgroups.memberships(runtime.pid(bundle))[""] == place.format(id=bundle.id)

    @pytest.mark.parametrize("slice", ["a--b.slice", "-a.slice", "a/b.slice", "system"])
    def test_is_in_no_slice_that_cannot_be(self, runtime, bundle, slice):
        bundle.linux["cgroupsPath"] = f"{slice}:box:{bundle.id}"
        runtime.create(bundle, **SYSTEMD).failed("invalid slice name", "/linux/cgroupsPath")

    def test_is_the_root_of_the_containers_cgroup_namespace(self, runtime, scoped):
        scoped.namespace("cgroup")
        scoped.resources["pids"] = {"limit": 33}
        script = "cat /proc/self/cgroup /sys/fs/cgroup/pids.max"
        done = runtime.run(scoped, "sh", "-c", script, **SYSTEMD).ok()
        assert done.stdout.split() == ["0::/", "33"]

    def test_goes_when_its_processes_do(self, runtime, scoped):
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        runtime.stop(scoped)
        runtime.delete(scoped).ok()
        assert not is_known(unit_of(scoped))

    def test_is_not_left_by_a_container_that_fails(self, runtime, scoped):
        runtime.run(scoped, "/no/such/program", **SYSTEMD).failed("/no/such/program")
        assert not is_known(unit_of(scoped))
        assert not leaks.cgroups(scoped.id)

    def test_is_not_left_when_it_failed(self, runtime, scoped):
        """systemd remembers a unit that failed: here one that took longer than it may."""
        scoped.config["annotations"] = {
            "org.systemd.property.RuntimeMaxSec": "1", "org.systemd.property.TimeoutStopSec": "1",
        }  # fmt: skip
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        until(lambda: show(unit_of(scoped), "ActiveState")["ActiveState"] == "failed", "it has failed", 60)
        runtime.until_status(scoped, "stopped")
        runtime.delete(scoped).ok()
        assert not is_known(unit_of(scoped))

    def test_is_not_kept_from_being_by_one_that_failed(self, runtime, scoped):
        unit = unit_of(scoped)
        words = ["systemd-run", "--scope", f"--unit={unit}", "--property=RuntimeMaxSec=1", "sleep", "1000"]
        subprocess.run(words, capture_output=True)
        until(lambda: show(unit, "ActiveState")["ActiveState"] == "failed", "it has failed", 60)
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        assert show(unit, "ActiveState") == {"ActiveState": "active"}

    def test_needs_no_reload_of_the_daemon(self, runtime, scoped):
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        runtime("update", "--pids-limit", "55", scoped.id).ok()
        assert show(unit_of(scoped), "NeedDaemonReload") == {"NeedDaemonReload": "no"}

    def test_is_had_by_one_container_alone(self, runtime, new_bundle):
        first, second = new_bundle(), new_bundle()
        first.linux["cgroupsPath"] = second.linux["cgroupsPath"] = f"::{first.id}"
        runtime.launch(first, "sleep", "1000", **SYSTEMD)
        runtime.create(second, **SYSTEMD).failed("container's cgroup is not empty")
        assert runtime.status(first) == "running"
        assert show(unit_of(first), "ActiveState") == {"ActiveState": "active"}

    def test_is_entered_by_exec(self, runtime, scoped):
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        done = runtime.exec(scoped, "cat", "/proc/self/cgroup").ok()
        assert done.stdout == f"0::/system.slice/{unit_of(scoped)}\n"

    def test_is_paused_and_resumed(self, runtime, scoped):
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        runtime("pause", scoped.id).ok()
        assert runtime.status(scoped) == "paused"
        runtime("resume", scoped.id).ok()
        assert runtime.status(scoped) == "running"

    def test_is_made_without_a_bus_too(self, runtime, scoped):
        """systemd has a socket of its own."""
        environment = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent", "PATH": "/usr/bin:/bin"}
        runtime.launch(scoped, "sleep", "1000", env=environment, **SYSTEMD)
        assert show(unit_of(scoped), "ActiveState") == {"ActiveState": "active"}

    def test_has_the_properties_of_annotations(self, runtime, scoped):
        scoped.config["annotations"] = {
            "org.systemd.property.TimeoutStopSec": "7",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
        }
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        shown = show(unit_of(scoped), "TimeoutStopUSec", "CollectMode")
        assert shown == {"TimeoutStopUSec": "7s", "CollectMode": "inactive-or-failed"}

    @pytest.mark.parametrize(("name", "value"), [("X", "5"), ("Nonsense", "5"), ("TimeoutStopSec", "'x'")])
    def test_does_not_come_with_properties_that_are_none(self, runtime, scoped, name, value):
        scoped.config["annotations"] = {f"org.systemd.property.{name}": value}
        assert runtime.create(scoped, **SYSTEMD).returncode == 1
        assert not is_known(unit_of(scoped))


@needs_systemd
@pytest.mark.parametrize("path", ["/a/b", "a:b", "a.slice:b:c:d"])
def test_a_path_of_another_form_is_an_error(runtime, bundle, path):
    bundle.linux["cgroupsPath"] = path
    runtime.create(bundle, **SYSTEMD).failed('of format "slice:prefix:name" for systemd cgroups, got')


@without_systemd
def test_without_systemd_it_is_said_what_is_missing(runtime, bundle):
    environment = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent", "PATH": "/usr/bin:/bin"}
    created = runtime.create(bundle, env=environment, **SYSTEMD)
    created.failed("cannot reach systemd", "no such file or directory")


def test_an_unknown_manager_is_an_error(runtime, bundle):
    assert "cgroup manager" in runtime.create(bundle, before=("--cgroup-manager", "other")).stderr


# -- no cgroup at all ------------------------------------------------------------------------------------

DISABLED = {"before": ("--cgroup-manager=disabled",)}


def test_disabled_the_container_stays_in_the_callers_cgroup(runtime, bundle):
    runtime.launch(bundle, "sleep", "1000", **DISABLED)
    assert cgroups.memberships(runtime.pid(bundle)) == cgroups.memberships()
    assert not leaks.cgroups(bundle.id)
    assert runtime.exec(bundle, "echo", "fine").ok().stdout == "fine\n"


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"pids": {"limit": 5}}, "/linux/resources/pids"),
        ({"memory": {"limit": 64 * MEBIBYTE}}, "/linux/resources/memory"),
        ({"cpu": {"cpus": "0"}}, "/linux/resources/cpu"),
    ],
)
def test_disabled_there_are_no_limits(runtime, bundle, resources, pointer):
    bundle.resources.update(resources)
    runtime.create(bundle, **DISABLED).failed(pointer, "--cgroup-manager disabled")


def test_disabled_devices_are_guarded_by_nobody(runtime, bundle):
    bundle.allow("CAP_MKNOD")
    runtime.create(bundle, **DISABLED).failed("/linux/resources/devices", "--cgroup-manager disabled")
    bundle.resources["devices"] = [{"allow": True, "access": "rwm"}]
    runtime.run(bundle, "true", **DISABLED).ok()
