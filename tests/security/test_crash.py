"""SIGKILL of the runtime, or of what it has made, at any call: `list` and `state` bear what is left,
`delete --force` takes it away, and a second one has nothing to do."""

from __future__ import annotations

import json
import os
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


@pytest.fixture(autouse=True)
def _injectable(runtime_command: str) -> None:
    faults.require(runtime_command)


def require_mended(runtime: Runtime, bundle: Bundle, fault: faults.Fault) -> None:
    """What a caller does who comes after a crash."""
    listed = runtime("list", "--format", "json").ok()
    known = [entry["id"] for entry in json.loads(listed.stdout) or []]
    asked = runtime("state", bundle.id)
    if asked.returncode:
        asked.failed("container does not exist")
        assert bundle.id not in known, fault
    else:
        assert json.loads(asked.stdout)["status"] in ("creating", "created", "running", "stopped"), fault
        assert bundle.id in known, fault
    for _ in range(2):
        runtime._delete_and_reap(bundle.id)
    assert not os.path.exists(runtime.root / bundle.id), fault
    try:
        runtime.require_clean()
    except AssertionError as error:
        raise AssertionError(f"{fault}: {error}") from None


def campaign(runtime: Runtime, bundle: Bundle, before: Callable[[], object], *arguments: object) -> None:
    before()
    counts = faults.census(runtime, *arguments)
    runtime._delete_and_reap(bundle.id)
    runtime.require_clean()
    problems, tried = [], 0
    for fault in faults.faults(counts, "signal=KILL"):
        if fault.call not in LANDMARKS:
            continue
        tried += 1
        before()
        try:
            fault.run(runtime, *arguments)
            require_mended(runtime, bundle, fault)
        except AssertionError as problem:
            problems.append(f"{fault}: {problem}")
    print(f"{tried} crash points, {len(problems)} of them wrong")
    assert not problems, f"{len(problems)} of {tried}:\n" + "\n".join(problems)
    assert tried > 3


def test_create(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.prepare(bundle, "sleep", "1000")
    campaign(runtime, bundle, lambda: None, "create", "--bundle", bundle.path, name)


def test_start(runtime: Runtime, bundle: Bundle) -> None:
    campaign(runtime, bundle, lambda: runtime.create(bundle, "sleep", "1000").ok(), "start", bundle.id)


def test_exec(runtime: Runtime, bundle: Bundle) -> None:
    campaign(runtime, bundle, lambda: runtime.launch(bundle, "sleep", "1000"), "exec", bundle.id, "true")


def test_delete(runtime: Runtime, bundle: Bundle) -> None:
    campaign(runtime, bundle, lambda: runtime.launch(bundle, "sleep", "1000"), "delete", "--force", bundle.id)


def test_a_create_that_died_before_it_knew_its_init_is_taken_away(runtime: Runtime, bundle: Bundle) -> None:
    """The stub waits, and no state names it: as if the runtime had been killed between clone and save."""
    runtime.create(bundle, "sleep", "1000").ok()
    pid = runtime.pid(bundle)
    file = runtime.root / bundle.id / "state.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pid": 0, "start_time": 0}))
    runtime("delete", "--force", bundle.id).ok()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert not (runtime.root / bundle.id).exists()
