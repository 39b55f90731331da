"""System calls that fail, or kill, on purpose: strace(1) injects. It counts for each process by itself, and
runs as a grandchild (`-D`), so that a command's own end is what we wait for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from support.runtime import Done, Runtime

# The interpreter's memory and start, the end of a process, and calls that cannot fail: close(2) lets go of a
# descriptor whatever it answers, and none of ours is of a file system that answers late.
NOT_OURS = frozenset({
    "arch_prctl", "brk", "clock_gettime", "clock_nanosleep", "close", "execve", "exit", "exit_group",
    "futex", "getegid", "geteuid", "getgid", "getpid", "getrandom", "gettid", "getuid", "lseek", "madvise",
    "mmap", "mprotect", "mremap", "munmap", "prlimit64", "readlink", "restart_syscall", "rseq",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "set_robust_list",
    "set_tid_address", "sigaltstack", "sysinfo", "umask", "uname",
})  # fmt: skip
_LINE = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)
_ALL = os.environ.get("PYRUNC_TEST_FAULTS") == "all"
RUNTIME, CHILDREN = "runtime", "children"


def require(command: str) -> None:
    """Skips where faults can't be injected, or where what the interpreter does at its start, for which
    nobody can answer, can't be told from what the runtime does: there is nothing of it in the launcher."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    if "launcher: static" not in version and not version.startswith(("runc", "crun")):
        pytest.skip("needs an installed pyrunc with its launcher (PYRUNC_TEST_RUNTIME)")


class Fault:
    """`number`: which of the calls of one process; `which`: of the runtime itself, or of those it makes."""

    def __init__(self, which: str, call: str, number: int, effect: str) -> None:
        self.which, self.call, self.number, self.effect = which, call, number, effect

    def __repr__(self) -> str:
        return f"{self.call} #{self.number} of {self.which}, {self.effect}"

    def run(self, runtime: Runtime, *arguments: object, **how: Any) -> tuple[Done, list[str]]:
        """The command with this fault in it, and the lines of the trace that show it."""
        log = runtime.work / "fault.log"
        inject = f"inject={self.call}:{self.effect}:when={self.number}"
        prefix = (
            "strace",
            "-D",
            "-qq",
            "-o",
            log,
            "-e",
            inject,
            *(("-f",) if self.which == CHILDREN else ()),
        )
        done = runtime(*arguments, prefix=prefix, **how)
        return done, [line for line in log.read_text(errors="replace").splitlines() if "(INJECTED)" in line]


def census(runtime: Runtime, *arguments: object, **how: Any) -> dict[str, Counter[str]]:
    """How often a command that succeeds makes each call, at most in one process. A child counts until it
    executes the container's program."""
    log = runtime.work / "census.log"
    runtime(*arguments, prefix=("strace", "-D", "-f", "-qq", "-o", log), **how).ok()
    each: dict[str, Counter[str]] = {}
    finished = set()
    runtime_pid = ""
    for pid, call in _LINE.findall(log.read_text(errors="replace")):
        runtime_pid = runtime_pid or pid
        if pid not in finished:
            each.setdefault(pid, Counter())[call] += 1
        if call == "execve" and pid != runtime_pid:
            finished.add(pid)
    found = {RUNTIME: each.pop(runtime_pid), CHILDREN: Counter()}
    for counts in each.values():
        found[CHILDREN] |= counts
    return found


def faults(counts: dict[str, Counter[str]], effect: str) -> Iterator[Fault]:
    """One for each call at its first and last occurrences, or with PYRUNC_TEST_FAULTS=all at every
    one. What the runtime itself has reached before it has a child can't be had in the child alone."""
    for which in (RUNTIME, CHILDREN):
        for call, total in sorted(counts[which].items()):
            if call in NOT_OURS:
                continue
            first = 1 if which == RUNTIME else counts[RUNTIME][call] + 1
            numbers = range(first, total + 1)
            if not _ALL and len(numbers) > 2:
                numbers = (first, total)  # type: ignore[assignment]
            for number in numbers:
                yield Fault(which, call, number, effect)
