"""Limits of a container whose cgroup systemd makes: in the files, and as properties of its unit, to which
systemd sets the files again whenever it likes."""

import json
import subprocess

import pytest
from support import cgroups
from support.host import needs_cgroup2, needs_controller, needs_systemd
from support.systemd import SYSTEMD, show, unit_of

MEBIBYTE = 1 << 20


@pytest.fixture
def scoped(bundle):
    """The bundle of a container whose scope is named after it."""
    bundle.linux["cgroupsPath"] = f"system.slice::{bundle.id}"
    return bundle


LIMITS = {
    "memory": {"limit": 64 * MEBIBYTE, "reservation": 32 * MEBIBYTE, "swap": 96 * MEBIBYTE},
    "cpu": {"shares": 2048, "quota": 25_500, "period": 50_000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 44},
}
FILES = {
    "memory.max": str(64 * MEBIBYTE), "memory.low": str(32 * MEBIBYTE), "memory.swap.max": str(32 * MEBIBYTE),
    "cpu.weight": "174", "cpu.max": "25500 50000", "cpuset.cpus": "0", "cpuset.mems": "0", "pids.max": "44",
}  # fmt: skip


@needs_systemd
@needs_cgroup2
class TestLimits:
    def _files(self, runtime, bundle):
        return {name: cgroups.read(runtime.pid(bundle), "", "", name) for name in FILES}

    def test_are_in_the_files_and_in_the_unit(self, runtime, scoped):
        scoped.resources.update(LIMITS)
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        assert self._files(runtime, scoped) == FILES
        shown = show(
            unit_of(scoped), "MemoryMax", "MemoryLow", "MemorySwapMax", "CPUWeight", "CPUQuotaPerSecUSec",
            "TasksMax", "AllowedCPUs", "DevicePolicy",
        )  # fmt: skip
        assert shown == {
            "MemoryMax": str(64 * MEBIBYTE), "MemoryLow": str(32 * MEBIBYTE),
            "MemorySwapMax": str(32 * MEBIBYTE), "CPUWeight": "174", "CPUQuotaPerSecUSec": "510ms",
            "TasksMax": "44", "AllowedCPUs": "0", "DevicePolicy": "strict",
        }  # fmt: skip
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        assert self._files(runtime, scoped) == FILES

    def test_are_updated_in_both(self, runtime, scoped):
        scoped.resources["pids"] = {"limit": 44}
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        runtime("update", "--pids-limit", "55", "--memory", str(80 * MEBIBYTE), scoped.id).ok()
        assert cgroups.read(runtime.pid(scoped), "", "", "pids.max") == "55"
        assert cgroups.read(runtime.pid(scoped), "", "", "memory.max") == str(80 * MEBIBYTE)
        shown = show(unit_of(scoped), "TasksMax", "MemoryMax")
        assert shown == {"TasksMax": "55", "MemoryMax": str(80 * MEBIBYTE)}

    @pytest.mark.parametrize(
        ("resources", "properties"),
        [
            ({"memory": {"limit": -1}}, {"MemoryMax": "infinity", "MemorySwapMax": "infinity"}),
            ({"memory": {"limit": 64 * MEBIBYTE, "swap": 64 * MEBIBYTE}}, {"MemorySwapMax": "0"}),
            ({"unified": {"memory.high": "50M", "memory.min": "1048576"}},
             {"MemoryHigh": str(50 * MEBIBYTE), "MemoryMin": str(MEBIBYTE)}),
            ({"unified": {"pids.max": "max", "cpu.weight": "7"}}, {"TasksMax": "infinity", "CPUWeight": "7"}),
            ({"pids": {"limit": -1}}, {"TasksMax": "infinity"}),
            ({"pids": {"limit": 0}}, {"TasksMax": "1"}),
            ({"cpu": {"shares": 2}}, {"CPUWeight": "1"}),
            ({"cpu": {"shares": 1024}}, {"CPUWeight": "100"}),
            ({"cpu": {"period": 50_000}}, {"CPUQuotaPeriodUSec": "50ms", "CPUQuotaPerSecUSec": "infinity"}),
            ({"cpu": {"quota": 25_250, "period": 50_000}}, {"CPUQuotaPerSecUSec": "510ms"}),  # rounded up
            ({"cpu": {"cpus": "0", "mems": "0"}}, {"AllowedCPUs": "0", "AllowedMemoryNodes": "0"}),
            ({"devices": [{"allow": True, "access": "rwm"}]}, {"DevicePolicy": "auto"}),
        ],
        ids=str,
    )  # fmt: skip
    def test_become_properties(self, runtime, scoped, resources, properties):
        scoped.resources.update(resources)
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        assert show(unit_of(scoped), *properties) == properties

    def test_are_lifted_in_both(self, runtime, scoped):
        scoped.resources.update(LIMITS)
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        document = {"memory": {"limit": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1, "shares": 1024}}
        runtime("update", "--resources=-", scoped.id, input=json.dumps(document)).ok()
        names = ("MemoryMax", "MemorySwapMax", "TasksMax", "CPUQuotaPerSecUSec", "CPUWeight")
        assert tuple(show(unit_of(scoped), *names).values()).count("infinity") == 4
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        lifted = {"memory.max": "max", "memory.swap.max": "max", "pids.max": "max", "cpu.weight": "100"}
        found = self._files(runtime, scoped)
        assert found.pop("cpu.max").split()[0] == "max"  # of nothing the period is systemd's to choose
        assert found == {name: text for name, text in FILES.items() if name != "cpu.max"} | lifted

    def test_are_no_coarser_than_before_after_an_update_of_others(self, runtime, scoped):
        """systemd counts in hundredths of a processor, and writes anew what it is told anything about."""
        scoped.resources["cpu"] = {"quota": 25_250, "period": 50_000}
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        runtime("update", "--cpu-share", "512", "--memory", str(80 * MEBIBYTE), scoped.id).ok()
        assert cgroups.read(runtime.pid(scoped), "", "", "cpu.max") == "25250 50000"
        assert cgroups.read(runtime.pid(scoped), "", "", "cpu.weight") == "59"
        runtime("update", "--cpu-quota", "12345", scoped.id).ok()
        assert cgroups.read(runtime.pid(scoped), "", "", "cpu.max") == "12345 50000"

    def test_of_cpus_are_updated_in_both(self, runtime, scoped):
        scoped.resources["cpu"] = {"cpus": "0"}
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        runtime("update", "--cpuset-cpus", "0-1", "--cpuset-mems", "0", scoped.id).ok()
        assert show(unit_of(scoped), "AllowedCPUs", "AllowedMemoryNodes") == {
            "AllowedCPUs": "0-1", "AllowedMemoryNodes": "0",
        }  # fmt: skip
        assert cgroups.read(runtime.pid(scoped), "", "", "cpuset.cpus") == "0-1"

    def test_of_an_idle_container_and_one_that_no_longer_is(self, runtime, scoped):
        scoped.resources["cpu"] = {"idle": 1, "shares": 2048}
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        assert show(unit_of(scoped), "CPUWeight") == {"CPUWeight": "idle"}
        assert cgroups.read(runtime.pid(scoped), "", "", "cpu.idle") == "1"
        runtime("update", "--resources=-", scoped.id, input='{"cpu": {"idle": 0}}').ok()
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        assert show(unit_of(scoped), "CPUWeight") == {"CPUWeight": "100"}
        assert cgroups.read(runtime.pid(scoped), "", "", "cpu.idle") == "0"

    @needs_controller("io")
    def test_of_io_outlive_a_reload(self, runtime, scoped):
        scoped.resources["blockIO"] = {"weight": 500}
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        name = (
            "io.bfq.weight"
            if (cgroups.directory(runtime.pid(scoped), "") / "io.bfq.weight").exists()
            else "io.weight"
        )
        before = cgroups.read(runtime.pid(scoped), "", "", name)
        assert before.splitlines()[0] == ("default 500" if name == "io.bfq.weight" else "default 4950")
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        runtime("update", "--pids-limit", "55", scoped.id).ok()
        assert cgroups.read(runtime.pid(scoped), "", "", name) == before

    def test_reach_what_systemd_does_not_know(self, runtime, scoped):
        scoped.resources["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 * MEBIBYTE}]
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        assert cgroups.read(runtime.pid(scoped), "", "", "hugetlb.2MB.max") == str(4 * MEBIBYTE)

    def test_of_devices_hold(self, runtime, scoped):
        scoped.linux["devices"] = [
            {"path": "/dev/loop-control", "type": "c", "major": 10, "minor": 237},
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
        ]
        scoped.resources["devices"].append(
            {"allow": True, "type": "c", "major": 10, "minor": 237, "access": "r"}
        )
        runtime.launch(scoped, "sleep", "1000", **SYSTEMD)
        self._expect_devices(runtime, scoped)
        runtime("update", "--pids-limit", "55", scoped.id).ok()
        self._expect_devices(runtime, scoped)
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        self._expect_devices(runtime, scoped)

    def _expect_devices(self, runtime, bundle):
        """What is allowed is, and nothing else: systemd's own program stands beside ours."""
        for part, expected in (
            (": < /dev/loop-control && echo may", "may"),
            (": > /dev/loop-control", "Operation not permitted"),
            (": < /dev/fuse", "Operation not permitted"),
            ("echo > /dev/null && echo may", "may"),
        ):
            done = runtime.exec(bundle, "sh", "-c", part)
            assert expected in done.stdout + done.stderr, done
