"""`pyr` under test: with the daemon of `support.engine`, or alone, with an engine in its own process."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

from pyrunc.files import write_all
from support.bundle import PREFIX
from support.engine import IMAGE, rootfs_tar
from support.facts import mounts
from support.waiting import until

SECONDS = 60
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

    def script(self, directory: Path) -> None:
        """`pyr`, as a program in `directory`."""
        path = directory / "pyr"
        path.write_text(f'#!/bin/sh\nexec {shlex.join(self.command())} "$@"\n')
        path.chmod(0o755)


class Terminal:
    """pyr on a terminal of 33 rows and 77 columns."""

    def __init__(self, pyr: Pyr, *words: str) -> None:
        self.fd, inner = pty.openpty()
        self.resize(33, 77)
        self.process = subprocess.Popen(
            pyr.command(*words),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**pyr.environment, "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inner)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: bytes, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(deadline - time.monotonic(), 0))
            assert ready, self.seen
            self.seen += os.read(self.fd, 4096)
        self.seen = self.seen.partition(text)[2]

    def type(self, text: bytes) -> None:
        write_all(self.fd, text)

    def end(self) -> int:
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()
            os.close(self.fd)


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
        for path in sorted(Path("/sys/fs/cgroup").glob(f"**{cgroup}"), reverse=True):
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
