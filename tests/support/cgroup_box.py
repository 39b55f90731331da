"""A cgroup made by our own plan and operations, with processes in it; gone when the test is over."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pyrunc.kernel import syscall
from pyrunc.linux.apply import open_cgroup
from pyrunc.linux.cgroups import apply, detect
from pyrunc.linux.cgroups.files import place_of
from pyrunc.linux.cgroups.processes import kill_all
from pyrunc.linux.cgroups.remove import remove
from pyrunc.oci.config import Config, Linux, Resources
from pyrunc.plan import makeops, ops, rareops
from pyrunc.plan.cgroups import CgroupPlan, plan_cgroup

DO = {
    makeops.MakeCgroup: apply.make_cgroup,
    makeops.WriteCgroup: apply.write_cgroup,
    makeops.AttachDeviceProgram: apply.attach_device_program,
    rareops.ChownCgroup: apply.chown_cgroup,
}
BUSYBOX = "/bin/busybox"


def run(operations: tuple[ops.Op, ...]) -> None:
    for op in operations:
        DO[type(op)](op)  # type: ignore[operator]


class Box:
    """`paths` are as a container's state would have them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.layout = detect.read_layout()
        self.plan = CgroupPlan()
        self.pids: list[int] = []

    @property
    def paths(self) -> tuple[tuple[str, str], ...]:
        return self.plan.paths

    def make(self, resources: Resources | None = None, path: str = "", **more: Any) -> Box:
        linux = Linux(cgroups_path=path, resources=resources, **more.pop("linux", {}))
        self.plan = plan_cgroup(
            config=Config(oci_version="1.2.0", linux=linux, **more),
            container_id=self.name,
            layout=self.layout,
            in_user_namespace=False,
            rootless=os.geteuid() != 0,
        )
        if apply.find_denied(self.plan.make):
            pytest.skip("no permission to make cgroups here")
        run(self.plan.make)
        return self

    def directory(self, controller: str) -> Path:
        """Of v1, else of the unified hierarchy."""
        return Path(place_of(self.paths, controller) or dict(self.paths)[""])

    def read(self, controller: str, name: str) -> str:
        return (self.directory(controller) / name).read_text().strip()

    def start(self, *words: str) -> int:
        """A busybox applet that joins as a container's first process does."""
        opened = {op.saves: open_cgroup(op) for op in self.plan.join}
        born_into = opened.pop("cgroup", -1)
        pid, pidfd = syscall.clone3(0, born_into)
        if pid == 0:
            try:
                for descriptor in opened.values():
                    os.write(descriptor, b"0")
                silence = os.open("/dev/null", os.O_RDWR)
                for descriptor in range(3):
                    os.dup2(silence, descriptor)
                os.execv(BUSYBOX, ["busybox", *words])
            finally:
                os._exit(111)
        os.close(pidfd)
        for descriptor in (*opened.values(), *([born_into] if born_into >= 0 else [])):
            os.close(descriptor)
        self.pids.append(pid)
        return pid

    def wait(self, pid: int) -> int:
        """Exit status, as waitstatus_to_exitcode gives it."""
        self.pids.remove(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def clean(self) -> None:
        if any(Path(path).exists() for _, path in self.paths):
            kill_all(self.paths, signal.SIGKILL)
        while self.pids:
            os.waitpid(self.pids.pop(), 0)
        remove(self.paths)
