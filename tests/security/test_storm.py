"""Many at a time, and many one after the other: every answer is the right one, and nothing is left.

The default is a short form; PYRUNC_TEST_STORM=long, as `make test-storm` has it, is the long one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support import leaks
from support.bundle import Bundle
from support.runtime import Done, Runtime
from support.shims import ShimOf, descriptors
from support.waiting import until

LONG = os.environ.get("PYRUNC_TEST_STORM") == "long"
CREATES = 200 if LONG else 20
EXECS = 50 if LONG else 10
CYCLES = 2000 if LONG else 50
ROUNDS = 50 if LONG else 5
SECONDS = 120


def all_at_once(runtime: Runtime, commands: list[tuple[object, ...]]) -> list[Done]:
    """Runs them in parallel; their answers, in order."""
    running = []
    for number, words in enumerate(commands):
        out, err = (runtime.work / f"storm-{number}.{name}" for name in ("stdout", "stderr"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            running.append((runtime.popen(*words, stdout=stdout, stderr=stderr), out, err))
    return [
        Done(process.args, process.wait(SECONDS), out, err)  # type: ignore[arg-type]
        for process, out, err in running
    ]


def test_parallel_creates(runtime: Runtime, bundle: Bundle) -> None:
    """One bundle, many ids: each is created, listed, and goes."""
    names = [runtime.prepare(bundle, "sleep", "1000", id=f"{bundle.id}-{n}") for n in range(CREATES)]
    for done in all_at_once(runtime, [("create", "--bundle", bundle.path, name) for name in names]):
        done.ok()
    assert sorted(runtime("list", "--quiet").ok().stdout.split()) == sorted(names)
    for done in all_at_once(runtime, [("start", name) for name in names]):
        done.ok()
    assert {runtime.status(name) for name in names} == {"running"}
    assert len({runtime.pid(name) for name in names}) == CREATES
    known = runtime._before
    for done in all_at_once(runtime, [("kill", name, "KILL") for name in names]):
        done.ok()
    until(lambda: not leaks.reap_orphans(known), "all of them end", SECONDS)
    for done in all_at_once(runtime, [("delete", name) for name in names]):
        done.ok()
    assert os.listdir(runtime.root) == []
    assert leaks.cgroups(bundle.id) == []
    assert leaks.mounts_below(runtime.work) == []


def test_parallel_execs(runtime: Runtime, bundle: Bundle) -> None:
    """Each has its own output and its own exit code."""
    runtime.launch(bundle, "sleep", "1000")
    commands = [("exec", bundle.id, "sh", "-c", f"echo {n}; exit {n}") for n in range(EXECS)]
    done = all_at_once(runtime, commands)
    assert [(item.returncode, item.stdout, item.stderr) for item in done] == [
        (n, f"{n}\n", "") for n in range(EXECS)
    ]
    listed = runtime("ps", "--format", "json", bundle.id).ok().stdout
    assert [int(pid) for pid in re.findall(r"\d+", listed)] == [runtime.pid(bundle)]
    assert runtime.status(bundle) == "running"


def test_one_after_the_other(runtime: Runtime, bundle: Bundle) -> None:
    """The end of one is the beginning of the next, with the same id."""
    name = runtime.prepare(bundle, "sh", "-c", "echo $((6 * 7)); exit 3")
    for _ in range(CYCLES):
        done = runtime("run", "--bundle", bundle.path, name)
        assert (done.returncode, done.stdout, done.stderr) == (3, "42\n", "")
        done.stdout_path.unlink()
        done.stderr_path.unlink()
        assert not os.path.exists(runtime.root / name)
    assert leaks.cgroups(name) == []
    assert leaks.mounts_below(runtime.work) == []
    assert leaks.reap_orphans(runtime._before) == set()


def test_one_id_for_two(runtime: Runtime, new_bundle: Callable[[], Bundle]) -> None:
    """Whoever comes first has it; the others hear so, and leave the winner's container alone."""
    bundles = [new_bundle() for _ in range(3)]
    for _ in range(ROUNDS):
        name = bundles[0].id
        for bundle in bundles:
            runtime.prepare(bundle, "sleep", "1000", id=name)
        done = all_at_once(runtime, [("create", "--bundle", bundle.path, name) for bundle in bundles])
        winners = [bundle for bundle, item in zip(bundles, done, strict=True) if item.returncode == 0]
        assert len(winners) == 1, done
        for item in done:
            if item.returncode:
                item.failed("container with given ID already exists")
                assert len(item.complaints) == 1
        state = runtime.state(name)
        assert (state["status"], state["bundle"]) == ("created", str(winners[0].path))
        runtime.start(name).ok()
        runtime._delete_and_reap(name)
        assert not os.path.exists(runtime.root / name)
        assert leaks.cgroups(name) == []


# --- the shim -------------------------------------------------------------------------------------


@pytest.fixture
def with_shims(runtime: Runtime) -> Runtime:
    if not runtime("--version").stdout.startswith("pyrunc "):
        pytest.skip("the shim is pyrunc's")
    return runtime


def test_shims_at_once(with_shims: Runtime, bundle: Bundle) -> None:
    """Each keeps the output and the exit code of its own container, and is gone with it."""
    runtime = with_shims
    names = [
        runtime.prepare(bundle, "sh", "-c", "hostname; sleep 1000", id=f"{bundle.id}-{n}")
        for n in range(CREATES)
    ]
    run = ("run", "--bundle", bundle.path, "--detach", "--shim")
    for done in all_at_once(runtime, [(*run, name) for name in names]):
        done.ok()
    for done in all_at_once(runtime, [("state", name) for name in names]):
        state = json.loads(done.ok().stdout)
        assert (state["status"], state["shim"]["status"]) == ("running", "running")
    for done in all_at_once(runtime, [("kill", name, "KILL") for name in names]):
        done.ok()
    for verb, said in (("wait", "137\n"), ("logs", "inside\n"), ("delete", "")):
        assert [done.ok().stdout for done in all_at_once(runtime, [(verb, name) for name in names])] == [
            said
        ] * CREATES
    assert os.listdir(runtime.root) == []
    assert leaks.cgroups(bundle.id) == []
    until(lambda: not leaks.reap_orphans(runtime._before), "no shim is left", SECONDS)


def test_one_shim_and_many_execs(with_shims: Runtime, bundle: Bundle) -> None:
    """Wave after wave of them: neither descriptors nor memory."""
    made = ShimOf(with_shims, bundle, "sleep", "1000").start()

    def wave() -> int:
        """What the shim has for its own after it, KiB."""
        begun = [(n, made.exec("sh", "-c", f"echo {n}; exit {n}")) for n in range(EXECS)]
        for n, stream in begun:
            assert stream.rest().rpartition(b"\n")[0].endswith(str(n).encode())
            assert made.call("wait", exec=stream.answer["exec"]) == {"exit_code": n}
            stream.close()
        until(lambda: len(descriptors(made.pid)) == before, "it has no descriptor of them any more")
        return private_kib(made.pid)

    before = len(descriptors(made.pid))
    wave()
    first = wave()
    for _ in range(ROUNDS):
        last = wave()
    assert last - first < 64 + EXECS * ROUNDS, "more than exit codes, which can be asked for a while"
    made.call("delete", force=True)


def private_kib(pid: int) -> int:
    (found,) = re.findall(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found)
