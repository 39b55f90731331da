"""The library face, in a process of its own as its users have it: containers from Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support.runtime import CHECKOUT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PROGRAM = """
import json, os, sys
import pyrunc
bundle, state_root, name = sys.argv[1:]
def descriptors():
    return len(os.listdir("/proc/self/fd"))
before, said = descriptors(), []
reading, writing = os.pipe()
with pyrunc.Container.create(bundle, name, state_root=state_root, stdout=writing) as container:
    os.close(writing)
    said.append(container.status)
    container.start()
    said.append(container.status)
    said.append(os.read(reading, 100).decode())
    done = container.exec(["sh", "-c", "cat; echo $A >&2; exit 3"], input=b"in", env={"A": "b"})
    said.append([done.code, done.output.decode(), done.errors.decode()])
    said.append(container.exec(["sleep", "1000"], timeout_seconds=0.2).code)
    try:
        container.exec(["nope"])
    except pyrunc.PyruncError as error:
        said.append(str(error))
    container.pause()
    said.append(container.status)
    container.resume()
    said.append(len(container.processes()))
    container.update({"pids": {"limit": 77}})
    said.append(container.stats()["pids"]["limit"])
    for call in (lambda: container.exec("ls"), lambda: container.wait(timeout_seconds=0.01)):
        try:
            call()
        except (pyrunc.PyruncError, TimeoutError) as error:
            said.append(type(error).__name__ + ": " + str(error))
    container.kill("TERM")
    said.append(container.wait(timeout_seconds=30))
    said.append(container.wait())
    said.append(container.status)
os.close(reading)
try:
    pyrunc.Container(name, state_root).state
except pyrunc.PyruncError as error:
    said.append(error.kind)
said.append(descriptors() - before)
print(json.dumps(said))
"""


def test_a_life_from_python(runtime, bundle, work):
    bundle.process["args"] = ["sh", "-c", "trap 'exit 9' TERM; echo hello; while :; do sleep 0.05; done"]
    bundle.write()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle.path), str(work / "library"), bundle.id],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "created", "running", "hello\n", [3, "in", "b\n"], 137,
        'unable to start container process: exec: "nope": executable file not found in $PATH',
        "paused", 2, 77, "PyruncError: args is one string: ls: a list of words is wanted",
        f"TimeoutError: {bundle.id} has not ended within 0.01 s", 9, 9, "stopped", "not found", 0,
    ]  # fmt: skip


def test_importing_it_costs_nothing():
    """The names are looked up when they are first asked for."""
    program = "import sys; before = set(sys.modules); import pyrunc; print(sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert done.stdout.strip() == "['__future__', 'pyrunc']"
