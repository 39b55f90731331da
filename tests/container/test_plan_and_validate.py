"""`plan` and `validate`: what would be done, and what is wrong, with nothing touched."""

from __future__ import annotations

import os

import pytest
from support.marks import deviation

pytestmark = deviation("runc", reason="has neither command")


@pytest.fixture
def untouched(work):
    """Nothing is there afterwards that was not there before, but for the runtime's own output files."""

    def names():
        return {
            os.path.join(directory, name)
            for directory, _, files in os.walk(work)
            for name in files
            if not name.endswith((".stdout", ".stderr", "config.json"))
        }

    before = names()
    yield
    assert names() == before


def test_a_plan_tells_the_whole_launch_in_order(runtime, bundle, untouched):
    bundle.write()
    lines = runtime("plan", bundle.path).ok().stdout.splitlines()
    heads = [line for line in lines if not line.startswith("  ")]
    assert [head.partition(" ")[0].rstrip(":") for head in heads] == [
        "prepare",
        "clone3",
        "attach",
        "child",
        "stub",
    ]
    steps = [line.split(":")[0].strip() for line in lines]
    order = (
        "AttachRoot",
        "MountFilesystem",
        "MakeDevice",
        "ReadonlyPath",
        "MaskPath",
        "PivotRoot",
        "FindProgram",
    )
    assert [steps.index(name) for name in order] == sorted(steps.index(name) for name in order)
    assert any("CLONE_NEWPID" in line for line in lines)
    assert lines[-1].split() == ["execve", bundle.process["args"][0]]


def test_each_entry_of_the_config_is_told_with_its_place(runtime, bundle, untouched):
    bundle.write()
    text = runtime("plan", bundle.path).ok().stdout
    for number in range(len(bundle.config["mounts"])):
        assert f"[/mounts/{number}]" in text
    for number, path in enumerate(bundle.linux["maskedPaths"]):
        assert f"mask {path}  [/linux/maskedPaths/{number}]" in text


def test_what_cannot_be_planned_is_refused_as_by_create(runtime, bundle, untouched):
    bundle.config["hostname"] = "x" * 300
    bundle.linux["namespaces"] = [{"type": "nonsense"}]
    bundle.write()
    runtime("plan", bundle.path).failed("/linux/namespaces/0")


def test_all_that_is_wrong_is_said_at_once(runtime, bundle, untouched):
    bundle.config["root"] = {"path": 5}
    bundle.process["cwd"] = 7
    bundle.config["mounts"][0].pop("destination")
    bundle.write()
    done = runtime("validate", bundle.path)
    assert done.returncode == 1
    for pointer in ("/root/path", "/process/cwd", "/mounts/0/destination"):
        assert any(line.startswith(f"error: {pointer}:") for line in done.stdout.splitlines()), done


def test_a_good_bundle_is_valid(runtime, bundle, untouched):
    bundle.write()
    assert runtime("validate", bundle.path).ok().stdout == ""
