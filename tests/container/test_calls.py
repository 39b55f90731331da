"""How many system calls a life takes, of the runtime and of its child. Counts do not depend on how busy a
machine is. They are highest where cgroup v1 has a dozen hierarchies, and the bounds are for that."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from support.waiting import until

# verb -> by the launcher, and by the script, whose interpreter alone makes 270
MOST = {"state": (70, 360), "start": (85, 380), "kill": (150, 380), "delete": (160, 390), "exec": (440, 740)}
MOST_TO_CREATE = (630, 920)

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")


@pytest.fixture
def traced(runtime, work):
    """Calls a verb, and returns how many system calls that and its children made before it ended."""
    numbers = iter(range(100))

    def call(*words):
        trace = work / f"trace{next(numbers)}"
        # In the background (-D), for else it waits for the container as well
        runtime(*words, prefix=("strace", "-D", "-f", "-o", trace)).ok()
        until(lambda: _has_ended(trace.read_text()), "the trace is written")
        return len(re.findall(r"^\d+ +\w+\(", trace.read_text(), re.MULTILINE))

    return call


def _has_ended(trace: str) -> bool:
    """The first of its processes, that is. A short pid has more blanks behind it."""
    return re.search(rf"^{trace.partition(' ')[0]} +\+\+\+ exited", trace, re.MULTILINE) is not None


def test_a_life_takes_few_system_calls(runtime, bundle, traced):
    said = runtime("--version").stdout
    above = Path(runtime.command).resolve().parents[1]
    if not [*above.glob("cpython-*"), *above.glob("lib/pyrunc/cpython-*")]:
        pytest.skip("the bounds are for a pyrunc that is installed")
    column = 0 if "launcher: static" in said else 1
    runtime.prepare(bundle, "sleep", "1000")
    assert traced("create", "--bundle", bundle.path, bundle.id) <= MOST_TO_CREATE[column]
    words = {"exec": ("true",), "kill": ("KILL",)}
    found = {}
    for verb in ("state", "start", "exec", "kill"):
        found[verb] = traced(verb, bundle.id, *words.get(verb, ()))
    runtime.until_status(bundle, "stopped")
    found["delete"] = traced("delete", bundle.id)
    assert {verb: count for verb, count in found.items() if count > MOST[verb][column]} == {}
