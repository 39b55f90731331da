"""linux.cgroups.stats: the same keys and values as `runc events --stats`, of the same container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.host import CGROUP1, PURE_CGROUP2, needs_root
from support.waiting import until

from pyrunc.linux.cgroups.stats import read_stats
from pyrunc.oci.config import Cpu, Memory, Resources

# Since runc 1.1: pressure (1.2), peak and failures of memory on v2.
NEWER = {"psi", "max"}
# These change from one look to the next; of them only the type is compared.
IN_MOTION = {"total", "percpu", "percpu_kernel", "percpu_user", "kernel", "user", "usage", "raw", "cache"}


class Runc:
    """A container of runc's that does a little I/O and computing, then sleeps."""

    def __init__(self, work: Path) -> None:
        self.name = f"pyrunc-test-{os.getpid()}-stats"
        self.command = ["runc", "--root", str(work / "state")]
        bundle = work / "bundle"
        (bundle / "rootfs/bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", bundle / "rootfs/bin/busybox")
        (bundle / "rootfs/bin/sh").symlink_to("busybox")
        subprocess.run(["runc", "spec"], cwd=bundle, check=True)
        config = json.loads((bundle / "config.json").read_text())
        script = "busybox sha256sum /bin/busybox; busybox sleep 1000"
        config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", script]}
        config["linux"]["resources"] |= {
            "memory": {"limit": 64 << 20},
            "pids": {"limit": 20},
            "cpu": {"quota": 90000, "period": 100000},
        }
        (bundle / "config.json").write_text(json.dumps(config))
        self.run("run", "--detach", "--bundle", str(bundle), self.name)
        state = json.loads((work / "state" / self.name / "state.json").read_text())
        self.paths = tuple((name.removeprefix("name="), path) for name, path in state["cgroup_paths"].items())

    def run(self, *words: str) -> str:
        with tempfile.TemporaryFile("w+") as output:  # no pipe: the container keeps its ends open
            status = subprocess.call([*self.command, *words], stdin=subprocess.DEVNULL, stdout=output)
            output.seek(0)
            text = output.read()
        assert status == 0, text
        return text

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("events", "--stats", self.name))["data"]
        return found


@pytest.fixture
def runc(tmp_path: Path) -> Iterator[Runc]:
    if shutil.which("runc") is None:
        pytest.skip("runc is not installed")
    container = Runc(tmp_path)
    yield container
    container.run("delete", "--force", container.name)


def differences(theirs: Any, ours: Any, where: str = "") -> list[str]:
    key = where.rpartition("/")[2]
    if type(theirs) is not type(ours) and not (theirs is None or ours is None):
        return [f"{where}: {theirs!r} and {ours!r}"]
    if isinstance(theirs, dict):
        found = [f"{where}/{name}: is missing" for name in theirs.keys() - ours.keys()]
        found += [f"{where}/{name}: runc has none" for name in ours.keys() - theirs.keys() - NEWER]
        for name in theirs.keys() & ours.keys():
            if name == "raw":
                found += [f"raw/{item}" for item in theirs[name].keys() ^ ours[name].keys()]
            else:
                found += differences(theirs[name], ours[name], f"{where}/{name}")
        return found
    if key in IN_MOTION:
        return []
    return [] if theirs == ours else [f"{where}: {theirs!r} and {ours!r}"]


@needs_root
def test_as_runc_prints_them(runc):
    def steady():
        """Both of one moment: the container begins and ends processes, and time passes."""
        before, ours, after = runc.stats(), read_stats(runc.paths), runc.stats()
        is_still = before["pids"] == ours["pids"] == after["pids"] and not differences(before, after)
        return (before, ours) if is_still else None

    theirs, ours = until(steady, "nothing changed between two looks")
    assert list(theirs) == list(ours)
    if PURE_CGROUP2 or "hugetlb" in CGROUP1:
        assert theirs["hugetlb"].keys() == ours["hugetlb"].keys()
    else:  # of a hybrid host's controllers in the unified hierarchy runc knows nothing
        ours["hugetlb"] = theirs["hugetlb"]
    assert differences(theirs, ours) == []
    again = runc.stats()
    assert theirs["cpu"]["usage"]["total"] <= ours["cpu"]["usage"]["total"] <= again["cpu"]["usage"]["total"]


def test_limits_show_up(box):
    box.make(Resources(memory=Memory(limit=32 << 20), pids_limit=9, cpu=Cpu(quota=2000, period=100000)))
    box.start("sh", "-c", "while :; do :; done")
    until(
        lambda: read_stats(box.paths)["cpu"]["throttling"].get("throttledTime", 0) > 1_000_000,
        "it was throttled",
    )
    found = read_stats(box.paths)
    assert found["memory"]["usage"]["limit"] == 32 << 20
    assert found["pids"] == {"current": 1, "limit": 9}
    assert found["cpu"]["throttling"]["throttledPeriods"] >= 1
    assert 0 < found["cpu"]["usage"]["total"] < 60_000_000_000


def test_a_cgroup_that_is_gone_counts_nothing():
    found = read_stats((("memory", "/sys/fs/cgroup/no/such"), ("cpu,cpuacct", "/sys/fs/cgroup/no/such")))
    assert found["cpu"] == {"usage": {"kernel": 0, "user": 0}, "throttling": {}}
    assert found["pids"] == {}
