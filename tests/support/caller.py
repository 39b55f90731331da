"""Programs that call the runtime, each with everything of its own: storage, state, sockets, and where it
needs them a network and a /run. None touches what the host's installation of it holds."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from support import leaks
from support.bundle import PREFIX
from support.console import Terminal, open_terminal
from support.runtime import CHECKOUT
from support.waiting import PATIENCE, until

OWN_SESSION = ("setsid", "--ctty", "--wait")
UNPACKED = CHECKOUT / "build/debian"  # of tools/unpack


@contextlib.contextmanager
def own_directory() -> Iterator[Path]:
    """Short: sockets are made below it. At the end no process that was started meanwhile is left."""
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    path.chmod(0o755)
    before = leaks.children()
    try:
        yield path
    finally:
        left = [leaks.describe(pid) for pid in _orphans_after(before, seconds=10)]
        leaks.kill_orphans(before)
        for target in reversed(leaks.mounts_below(path)):
            subprocess.run(["umount", target], check=True)
        shutil.rmtree(path)
        assert not left, f"left behind by what was in {path}: {left}"


def _orphans_after(before: set[int], seconds: float) -> set[int]:
    with contextlib.suppress(AssertionError):
        until(lambda: not leaks.reap_orphans(before), "they have ended", seconds)
    return leaks.reap_orphans(before)


@contextlib.contextmanager
def own_machine(*prepare: str) -> Iterator[tuple[str, ...]]:
    """The words that run a program with a network of its own, which has loopback alone, and an empty /run,
    where an engine's socket and locks would be. `prepare`: shell commands that change more in its mounts."""
    script = ["mount -t tmpfs tmpfs /run", "ip link set lo up", *prepare, "echo ready", "exec sleep infinity"]
    holder = subprocess.Popen(
        ["unshare", "--net", "--mount", "--propagation", "slave", "sh", "-ec", "\n".join(script)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
        yield ("nsenter", "--net", "--mount", f"--wdns={os.getcwd()}", f"--target={holder.pid}", "--")
    finally:
        holder.kill()
        holder.communicate()


def subordinate_ids(path: Path, user: str) -> list[str]:
    """The commands of own_machine that give `user` some, in place of whatever /etc/subuid says."""
    (path / "subids").write_text(f"{user}:1000000:131072\n")
    return [f"mount --bind {path}/subids /etc/{name}" for name in ("subuid", "subgid")]


def overlay(path: Path, directory: str) -> list[str]:
    """The commands of own_machine after which all that is written into a directory stays on that machine, for
    as long as it lasts. `path` holds it, and is not on an overlay itself."""
    above = path / directory.strip("/").replace("/", "-")
    layers = f"lowerdir={directory},upperdir={above}/upper,workdir={above}/work"
    return [f"mkdir -p {above}/upper {above}/work", f"mount -t overlay overlay -o {layers} {directory}"]


def ordinary_user(uid: int, home: Path) -> list[str]:
    """The commands of own_machine that make a user in /etc, with the ids that rootless podman wants."""
    return [
        f"sed -i '/^[^:]*:[^:]*:{uid}:/d' /etc/passwd /etc/group",
        f"echo tester:x:{uid}:{uid}::{home}:/bin/sh >>/etc/passwd",
        f"echo tester:x:{uid}: >>/etc/group",
        "echo tester:200000:65536 | tee /etc/subuid >/etc/subgid",
        f"mkdir -p /run/user/{uid} && chown {uid}:{uid} /run/user/{uid} && chmod 700 /run/user/{uid}",
    ]


def become(uid: int) -> tuple[str, ...]:
    """The words that run a program as that user, without any right of root's."""
    return ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all")


class Caller:
    """A program that calls the runtime, with the options that every call of it needs."""

    def __init__(self, base: Sequence[str], env: dict[str, str]) -> None:
        self.base, self.env = [*base], env

    def __call__(
        self, *words: object, input: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.base, *map(str, words)], input=input, capture_output=True, text=True,
            timeout=timeout * PATIENCE, env=self.env,
        )  # fmt: skip

    def ok(self, *words: object, input: str | None = None, timeout: float = 60) -> str:
        done = self(*words, input=input, timeout=timeout)
        assert done.returncode == 0, f"{words}: rc {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ok_all(self, *words: object, timeout: float = 60) -> str:
        """Both streams: some programs print what is wanted on one, some on the other."""
        done = self(*words, timeout=timeout)
        assert done.returncode == 0, f"{words}: rc {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def piped(self, *words: object) -> Iterator[subprocess.Popen[str]]:
        """The program while it runs: for what follows a log, or ends at a signal."""
        process = subprocess.Popen(
            [*self.base, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=self.env,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    @contextlib.contextmanager
    def on_terminal(self, *words: object) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
        """The program under a user's terminal of 33 rows and 111 columns."""
        with open_terminal(33, 111) as (terminal, slave):
            process = subprocess.Popen(
                [*OWN_SESSION, *self.base, *map(str, words)], stdin=slave, stdout=slave, stderr=slave,
                start_new_session=True, env=self.env,
            )  # fmt: skip
            try:
                yield terminal, process
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
