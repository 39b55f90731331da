"""A runtime by its command line, which runc, crun, youki and pyrunc share."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench import host

OPERATIONS = ("run", "create", "state", "start", "exec", "kill", "delete")
_numbers = itertools.count(1)


class Failed(Exception):
    """A runtime did not do what every runtime does."""


def new_id() -> str:
    return f"pyrunc-test-bench-{os.getpid()}-{next(_numbers)}"


class Cost:
    """Of one call, in milliseconds: by the clock, and of the CPU."""

    __slots__ = ("cpu", "wall")

    def __init__(self, wall: float, cpu: float) -> None:
        self.wall, self.cpu = wall, cpu


class Program:
    """`text`: NAME=COMMAND, a command of one word or more."""

    def __init__(self, text: str, work: Path) -> None:
        name, separator, command = text.partition("=")
        self.name = name if separator else Path(text).name
        self.argv = shlex.split(command if separator else text)
        found = shutil.which(self.argv[0])
        if found is None:
            raise Failed(f"there is no {self.argv[0]}")
        self.argv[0] = os.path.abspath(found)
        self.root = work / f"state-{self.name}"
        self.log = work / f"log-{self.name}"
        self.pid_file = work / f"pid-{self.name}"

    def words(self, *arguments: object) -> list[str]:
        return [*self.argv, "--root", str(self.root), *(str(argument) for argument in arguments)]

    def __call__(self, *arguments: object) -> Cost:
        """Raises Failed with what it said."""
        argv = self.words(*arguments)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        begin = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
        _, status, used = os.wait4(pid, 0)
        wall = time.perf_counter() - begin
        if status:
            said = self.log.read_text(errors="replace").strip()
            raise Failed(f"{shlex.join(argv)}: {os.waitstatus_to_exitcode(status)}: {said}")
        return Cost(wall * 1000, (used.ru_utime + used.ru_stime) * 1000)

    def instructions(self, *arguments: object) -> float | None:
        """Millions, in user space and of all its processes up to their exec, by callgrind. None for what
        valgrind cannot run (Go programs, which bring a stack and signals of their own)."""
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--trace-children=no"]
        done = subprocess.run(
            [*command, *self.words(*arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        found = re.findall(r"Collected : (\d+)", done.stderr)
        return int(found[-1]) / 1e6 if found and done.returncode == 0 else None

    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def create(self, bundle: Path, name: str) -> Cost:
        return self("create", "--bundle", bundle, "--pid-file", self.pid_file, name)

    def remove(self, name: str) -> None:
        """By force, with the process that we have adopted."""
        self("delete", "--force", name)
        host.await_end(self.pid())


def life(program: Program, bundles: tuple[Path, Path], gap: float = 0) -> Iterator[tuple[str, Cost | int]]:
    """Every operation once: (its name, its cost); and after `create`, ("pid", of the init)."""
    short, long = bundles
    name = new_id()
    time.sleep(gap)
    yield "run", program("run", "--bundle", short, name)
    name = new_id()
    time.sleep(gap)
    yield "create", program.create(long, name)
    pid = program.pid()
    try:
        yield "pid", pid
        for operation, *rest in (("state",), ("start",), ("exec", "true"), ("kill", "KILL")):
            time.sleep(gap)
            yield operation, program(operation, name, *rest)
        host.await_end(pid)
        time.sleep(gap)
        yield "delete", program("delete", name)
    except BaseException:
        program.remove(name)
        raise
