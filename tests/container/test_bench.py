"""The benchmark runs, and what it writes can be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from support.runtime import CHECKOUT
from support.waiting import PATIENCE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.parametrize(
    ("measurement", "more"),
    [
        ("lifecycle", ["--seccomp", "--gap", "0.01"]),
        ("warm", []),
        ("storm", []),
        ("memory", ["--most", "4"]),
    ],
)
def test_a_measurement(runtime_command, work, measurement, more):
    output = work / "found"
    done = subprocess.run(
        [sys.executable, "-m", "bench", measurement, "--runtime", f"one={runtime_command}", "-n", "1", *more,
         "--runtime", f"two={runtime_command}", "--output", str(output)],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=120 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "two/one" in done.stdout or measurement == "storm"
    document = json.loads(output.with_suffix(".json").read_text())
    assert document["how"]["measurement"] == measurement
    assert ElementTree.fromstring(output.with_suffix(".svg").read_text()).tag.endswith("svg")
    if "wall_ms" in document:
        assert {len(found["one"]) for found in document["wall_ms"].values()} == {1}
        assert all(found["two"][0] > 0 for found in document["wall_ms"].values())


def test_a_runtime_that_fails_is_told_of(work):
    command = [sys.executable, "-m", "bench", "lifecycle", "--runtime", "x=/bin/false", "-n", "1"]
    done = subprocess.run(
        [*command, "--output", str(work / "found")], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (done.returncode, "/bin/false" in done.stderr) == (1, True)
    assert not (work / "found.json").exists()
