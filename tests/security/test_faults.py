"""Each system call that a launch makes fails once, in turn.

Then the command says in one line what failed, with its usual status, and nothing is left; or it does without
that call, and has done what it was asked for. PYRUNC_TEST_FAULTS=all tries each occurrence of each call, the
default is the first and the last.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support import faults, leaks
from support.bundle import Bundle
from support.runtime import Done, Runtime
from support.waiting import until

EFFECTS = {
    "EIO": "input/output error",
    "EPERM": "(operation not permitted|permission denied)",
    "ENOMEM": "cannot allocate memory",
}
# What the short form leaves to the long one.
long_form = pytest.mark.skipif(
    os.environ.get("PYRUNC_TEST_FAULTS") != "all", reason="takes its time: PYRUNC_TEST_FAULTS=all"
)
# A launch without one of these would be a container that is less confined, or not the one that was asked for.
NEEDED = frozenset({
    "capset", "chdir", "clone3", "close_range", "execveat", "fchdir", "fchown", "fchownat", "flock",
    "getcwd", "keyctl", "memfd_create", "mkdir", "mknodat", "mount", "mount_setattr", "move_mount",
    "open_tree", "openat2", "pidfd_open", "pidfd_send_signal", "pivot_root", "prctl", "pwrite64", "rename",
    "rmdir", "seccomp", "sendmsg", "setfsgid", "setfsuid", "setgroups", "sethostname", "setns", "setresgid",
    "setresuid", "setsid", "symlinkat", "umount2", "unlink", "unshare",
})  # fmt: skip
# Streams that can't be given away stay as they are, a directory that root may not enter the user may. What
# a user namespace of others denies has another way: a tree of the container's own cgroups, as read-only,
# terminals of no group; and who may not return to his own pid namespace has a process between that needn't.
CAN_DO_WITHOUT = {
    "EPERM": re.compile(r'^setns #1 of runtime|[: ](fchown\(|chdir\(|mount\("(cgroup|devpts)", )'),
}
# What became of a fault; nothing is left in either case.
ONE_ERROR, DONE_WITHOUT, NOT_REACHED, WRONG = "one error", "done without", "not reached", "wrong"


@pytest.fixture(autouse=True)
def _injectable(runtime_command: str) -> None:
    faults.require(runtime_command)


def rich(bundle: Bundle, work: Path) -> Bundle:
    """A config with something for each kind of step."""
    (work / "source").mkdir()
    bundle.bind(work / "source", "/source", "ro")
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [10], "umask": 0o77}
    bundle.process["noNewPrivileges"] = False
    bundle.process["oomScoreAdj"] = 100
    bundle.resources["pids"] = {"limit": 50}
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO"}],
    }
    bundle.linux["devices"] = [
        {"path": "/dev/thing", "type": "c", "major": 1, "minor": 3, "uid": 1, "gid": 1}
    ]
    bundle.namespace("cgroup")
    bundle.config["hooks"] = {
        "createContainer": [{"path": "/bin/true"}],
        "poststart": [{"path": "/bin/true"}],
    }
    return bundle


def plain(bundle: Bundle, work: Path) -> Bundle:
    return bundle


def is_of_message(line: str) -> bool:
    """What failed is the writing of the error line itself, or the interpreter's own of a signal's number."""
    return bool(re.search(r" write\((2, \"time=|\d+, \"\\21\", 1\))", line))


def complaint(done: Done, status: int, reason: str, injected: list[str]) -> str:
    """What is wrong with the answer of a command that failed; nothing if all is well."""
    if done.returncode != status:
        return f"status {done.returncode}"
    if any(is_of_message(line) for line in injected):
        return ""
    lines = done.complaints
    if len(injected) > 1:  # the runtime and its child each met one: the clean-up of the first met the second
        lines = [line for line in lines if "level=warning" not in line]
    if len(lines) != 1:
        return f"{len(lines)} lines: {done.stderr}"
    if "internal error" in lines[0] or not re.search(rf"failed: .+: {reason}|msg=\".+: .*{reason}", lines[0]):
        return f"unclear: {lines[0]}"
    return ""


def has_another_way(fault: faults.Fault, error: str, injected: list[str]) -> bool:
    known = CAN_DO_WITHOUT.get(error)
    return known is not None and all(known.search(f"{fault}: {line}") for line in injected)


class Campaign:
    """One verb, with each of its faults in turn. `before` makes the container that the verb is for;
    `succeeded` tells whether the verb has done its work."""

    def __init__(
        self,
        runtime: Runtime,
        bundle: Bundle,
        arguments: tuple[object, ...],
        before: Callable[[], object],
        succeeded: Callable[[], bool],
        status: int = 1,
        renews: bool = True,
    ) -> None:
        self.runtime, self.bundle, self.arguments = runtime, bundle, arguments
        self.before, self.succeeded, self.status, self.renews = before, succeeded, status, renews
        self.problems: list[str] = []
        self.counts = Counter[str]()

    def remove(self) -> None:
        for _ in range(2):
            self.runtime._delete_and_reap(self.bundle.id)
        self.runtime.require_clean()

    def run(self, error: str) -> None:
        self.before()
        counts = faults.census(self.runtime, *self.arguments)
        if self.renews:
            self.remove()
        for fault in faults.faults(counts, f"error={error}"):
            try:
                self.counts[self.attempt(fault, error)] += 1
            except AssertionError as problem:
                self.counts[WRONG] += 1
                self.problems.append(f"{fault}: {problem}")
        tried = self.counts.total()
        print(f"{tried} faults: {dict(self.counts)}")
        assert not self.problems, f"{len(self.problems)} of {tried}:\n" + "\n".join(self.problems)
        assert tried > 10

    def attempt(self, fault: faults.Fault, error: str) -> str:
        if self.renews:
            self.before()
        try:
            done, injected = fault.run(self.runtime, *self.arguments)
            if done.returncode == 0:
                assert self.succeeded(), "says that it succeeded"
                is_needed = fault.call in NEEDED and not has_another_way(fault, error, injected)
                assert not (injected and is_needed), "is done without"
            else:
                wrong = complaint(done, self.status, EFFECTS[error], injected)
                assert not wrong, wrong
                if self.arguments[0] == "create" and len(injected) == 1:
                    self.runtime.require_clean()
            self.runtime("list").ok()
            if not injected:
                return NOT_REACHED
            return ONE_ERROR if done.returncode else DONE_WITHOUT
        finally:
            if self.renews:
                self.remove()


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (plain, "EIO"),
        (rich, "EPERM"),
        pytest.param(rich, "EIO", marks=long_form),
        pytest.param(rich, "ENOMEM", marks=long_form),
    ],
)
def test_create(runtime: Runtime, bundle: Bundle, work: Path, config, error: str) -> None:
    name = runtime.prepare(config(bundle, work), "sleep", "1000")
    Campaign(
        runtime,
        bundle,
        ("create", "--bundle", bundle.path, name),
        before=lambda: None,
        succeeded=lambda: runtime.status(bundle) == "created",
    ).run(error)


def test_start(runtime: Runtime, bundle: Bundle) -> None:
    Campaign(
        runtime,
        bundle,
        ("start", bundle.id),
        before=lambda: runtime.create(bundle, "sleep", "1000").ok(),
        succeeded=lambda: runtime.status(bundle) == "running",
    ).run("EIO")


@pytest.mark.parametrize(("config", "error"), [(plain, "EIO"), pytest.param(rich, "EPERM", marks=long_form)])
def test_exec(runtime: Runtime, bundle: Bundle, work: Path, config, error: str) -> None:
    """In one container, which neither the fault nor what it leaves may hurt."""
    runtime.launch(config(bundle, work), "sleep", "1000")
    init = {runtime.pid(bundle)}
    (procs,) = [path / "cgroup.procs" for path in leaks.cgroups(bundle.id)][:1]

    def is_alone() -> bool:
        leaks.reap_orphans(runtime._before)
        return {int(pid) for pid in procs.read_text().split()} == init

    campaign = Campaign(
        runtime,
        bundle,
        ("exec", bundle.id, "true"),
        before=lambda: None,
        succeeded=lambda: bool(until(is_alone, "only the init is left")),
        status=255,
        renews=False,
    )
    campaign.run(error)
    until(is_alone, "only the init is left")
    assert runtime.exec(bundle, "echo", "well").ok().stdout == "well\n"


@pytest.mark.parametrize("options", [(), ("--force",)], ids=["stopped", "running"])
def test_delete(runtime: Runtime, bundle: Bundle, options: tuple[str, ...]) -> None:
    def before() -> None:
        runtime.launch(bundle, "sleep", "1000")
        if not options:
            runtime.stop(bundle)

    Campaign(
        runtime,
        bundle,
        ("delete", *options, bundle.id),
        before=before,
        succeeded=lambda: not os.path.exists(runtime.root / bundle.id) and not leaks.cgroups(bundle.id),
    ).run("EIO")
