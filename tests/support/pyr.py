"""`pyr` under test: with the daemon of `support.engine`, or alone, with an engine in its own process."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.bundle import PREFIX
from support.engine import IMAGE, rootfs_tar
from support.facts import mounts
from support.leaks import cgroups_at
from support.session import Session
from support.waiting import until

SECONDS = 120
_PROGRAM = "import sys; sys.path[:] = {path!r}; from pyrunc.docker.main import entry; entry()"


class Pyr:
    """`options`: global ones, that say where the engine is."""

    def __init__(self, root: Path, options: tuple[str, ...]) -> None:
        self.root, self.options = root, options
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(root)}

    def command(self, *words: str) -> list[str]:
        program = _PROGRAM.format(path=[os.getcwd(), *sys.path])
        return [sys.executable, "-IB", "-c", program, *self.options, *words]

    def call(self, *words: str, **options: Any) -> subprocess.CompletedProcess[Any]:
        settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": SECONDS, **options}
        return subprocess.run(self.command(*words), env=self.environment, check=False, **settings)

    def ok(self, *words: str, **options: Any) -> str:
        done = self.call(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return str(done.stdout)

    def fails(self, *words: str, code: int = 1) -> str:
        done = self.call(*words)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return str(done.stderr)

    def clean(self) -> None:
        ids = self.ok("ps", "-aq").split()
        if ids:
            self.ok("rm", "-fv", *ids)
        self.ok("network", "prune", "-f")
        self.ok("volume", "prune", "-af")

    def on_terminal(self, *words: str) -> Session:
        return Session(self.command(*words), {**self.environment, "TERM": "xterm"})

    def script(self, directory: Path) -> None:
        """`pyr`, as a program in `directory`."""
        path = directory / "pyr"
        path.write_text(f'#!/bin/sh\nexec {shlex.join(self.command())} "$@"\n')
        path.chmod(0o755)


@contextlib.contextmanager
def alone(root: Path) -> Iterator[Pyr]:
    """Without a daemon, with the image `busybox`. At the end nothing of it may be left."""
    cgroup = f"/{PREFIX}pyr-{os.getpid()}"
    settings = {"cgroup-parent": cgroup, "network-table": f"pyrunc_pyr_{os.getpid()}"}
    (root / "daemon.json").write_text(json.dumps(settings))
    where = {"data-root": root / "data", "exec-root": root / "run", "config-file": root / "daemon.json"}
    pyr = Pyr(root, tuple(f"--{name}={path}" for name, path in where.items()))
    archive = root / "rootfs.tar"
    archive.write_bytes(rootfs_tar())
    try:
        pyr.ok("import", "-c", 'CMD ["sh"]', "-c", "ENV PATH=/bin", str(archive), IMAGE)
        yield pyr
        pyr.clean()
        until(lambda: not _left(root), f"nothing is left: {_left(root)[-3:]}")
    finally:
        ids = pyr.call("ps", "-aq").stdout.split()
        if ids:
            pyr.call("rm", "-fv", *ids)
        for target in reversed(_mounted(root)):
            subprocess.run(["umount", "-l", target], check=False)
        for path in cgroups_at(cgroup):
            with contextlib.suppress(OSError):
                path.rmdir()


def _mounted(root: Path) -> list[str]:
    found = mounts(Path("/proc/self/mountinfo").read_text())
    return [mount.target for mount in found if mount.target.startswith(f"{root}/")]


def _left(root: Path) -> list[str]:
    found = _mounted(root)
    for directory in ("data/containers", "run/netns"):
        with contextlib.suppress(FileNotFoundError):
            found += [str(path) for path in (root / directory).iterdir()]
    return found
