"""SIGKILL of the runtime, of a shim, or of what they have made, at any call: `list` and `state` bear what is
left, `delete --force` takes it away, and a second one has nothing to do.

PYRUNC_TEST_FAULTS=all tries each occurrence of each call, not of the landmarks alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable

import pytest
from support import faults
from support.bundle import Bundle
from support.runtime import Runtime

# Between any two of these something has changed that another process can see.
LANDMARKS = frozenset({
    "clone3", "execveat", "flock", "memfd_create", "mkdir", "mknodat", "mount", "move_mount",
    "pidfd_send_signal", "pivot_root", "poll", "recvmsg", "rename", "rmdir", "sendmsg", "setns",
    "socketpair", "unlink", "wait4", "write",
})  # fmt: skip
LONG = os.environ.get("PYRUNC_TEST_FAULTS") == "all"


@pytest.fixture(autouse=True)
def _injectable(runtime_command: str) -> None:
    faults.require(runtime_command)


def require_mended(runtime: Runtime, bundle: Bundle) -> None:
    """What a caller does who comes after a crash."""
    listed = runtime("list", "--format", "json").ok()
    known = [entry["id"] for entry in json.loads(listed.stdout) or []]
    asked = runtime("state", bundle.id)
    if asked.returncode:
        asked.failed("container does not exist")
        assert bundle.id not in known
    else:
        assert json.loads(asked.stdout)["status"] in ("creating", "created", "running", "stopped")
        assert bundle.id in known
    for _ in range(2):
        runtime._delete_and_reap(bundle.id)
    left = [place for place in (bundle.id, f"@shims/{bundle.id}") if os.path.exists(runtime.root / place)]
    assert not left
    runtime.require_clean()


class Crashes:
    """One verb, killed at one call after the other. `before` makes the container that it is for."""

    def __init__(
        self, runtime: Runtime, bundle: Bundle, before: Callable[[], object], *arguments: object
    ) -> None:
        self.runtime, self.bundle, self.before, self.arguments = runtime, bundle, before, arguments

    def census(self) -> dict[str, Counter[str]]:
        return faults.census(self.runtime, *self.arguments)

    def crash(self, fault: faults.Fault) -> None:
        fault.run(self.runtime, *self.arguments)

    def run(self) -> None:
        self.before()
        counts = self.census()
        self.runtime._delete_and_reap(self.bundle.id)
        self.runtime.require_clean()
        problems, tried = [], 0
        for fault in faults.faults(counts, "signal=KILL"):
            if not LONG and fault.call not in LANDMARKS:
                continue
            tried += 1
            self.before()
            try:
                self.crash(fault)
                require_mended(self.runtime, self.bundle)
            except AssertionError as problem:
                problems.append(f"{fault}: {problem}")
        print(f"{tried} crash points, {len(problems)} of them wrong")
        assert not problems, f"{len(problems)} of {tried}:\n" + "\n".join(problems)
        assert tried > 3


class CrashesOfShim(Crashes):
    """The shim is killed while it carries the verb out; whoever has asked may be told so, or not."""

    def _attached(self, *options: str) -> subprocess.Popen[bytes]:
        pid = self.runtime.state(self.bundle)["shim"]["pid"]
        words = ["strace", "-p", str(pid), "-o", str(self.runtime.work / "shim.log"), *options]
        tracer = subprocess.Popen(words, stderr=subprocess.PIPE)
        assert tracer.stderr is not None
        assert b"attached" in tracer.stderr.readline()
        return tracer

    def _trace(self, *options: str) -> None:
        with self._attached(*options) as tracer:
            try:
                self.runtime(*self.arguments)
            finally:
                tracer.terminate()

    def census(self) -> dict[str, Counter[str]]:
        self._trace()
        calls = re.findall(r"^(\w+)\(", (self.runtime.work / "shim.log").read_text(), re.MULTILINE)
        assert calls
        return {faults.RUNTIME: Counter(calls), faults.CHILDREN: Counter()}

    def crash(self, fault: faults.Fault) -> None:
        self._trace("-e", f"inject={fault.call}:{fault.effect}:when={fault.number}")


def test_create(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.prepare(bundle, "sleep", "1000")
    Crashes(runtime, bundle, lambda: None, "create", "--bundle", bundle.path, name).run()


def test_start(runtime: Runtime, bundle: Bundle) -> None:
    Crashes(runtime, bundle, lambda: runtime.create(bundle, "sleep", "1000").ok(), "start", bundle.id).run()


def test_exec(runtime: Runtime, bundle: Bundle) -> None:
    Crashes(runtime, bundle, lambda: runtime.launch(bundle, "sleep", "1000"), "exec", bundle.id, "true").run()


def test_delete(runtime: Runtime, bundle: Bundle) -> None:
    Crashes(
        runtime, bundle, lambda: runtime.launch(bundle, "sleep", "1000"), "delete", "--force", bundle.id
    ).run()


def test_run_with_a_shim(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.prepare(bundle, "sleep", "1000")
    words = ("run", "--bundle", bundle.path, "--detach", "--shim", name)
    Crashes(runtime, bundle, lambda: None, *words).run()


@pytest.mark.parametrize(
    "words",
    [("start",), ("kill", "KILL"), ("delete", "--force")],
    ids=lambda words: words[0],
)
def test_a_shim_at_work(runtime: Runtime, bundle: Bundle, words: tuple[str, ...]) -> None:
    verb, *options = words
    begin = ("create",) if verb == "start" else ("run", "--detach")

    def before() -> None:
        name = runtime.prepare(bundle, "sleep", "1000")
        runtime(*begin, "--bundle", bundle.path, "--shim", name).ok()

    arguments = (verb, bundle.id, *options) if verb == "kill" else (verb, *options, bundle.id)
    CrashesOfShim(runtime, bundle, before, *arguments).run()


def test_a_create_that_died_before_it_knew_its_init_is_taken_away(runtime: Runtime, bundle: Bundle) -> None:
    """The stub waits, and no state names it: as if the runtime had been killed between clone and save."""
    runtime.create(bundle, "sleep", "1000").ok()
    pid = runtime.pid(bundle)
    file = runtime.root / bundle.id / "state.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pid": 0, "start_time": 0}))
    runtime("delete", "--force", bundle.id).ok()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert not (runtime.root / bundle.id).exists()
