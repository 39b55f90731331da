"""The process between us and a container's init, where namespaces want one: it says the init's pid, and the
init, which runs already, may be quicker with what it has to say."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from support.host import needs_namespace
from support.runtime import CHECKOUT

PROGRAM = """
import sys, time
sys.path.insert(0, {checkout!r})
from pyrunc.child import channel
encode_pid = channel.encode_pid
channel.encode_pid = lambda pid: (time.sleep(0.3), encode_pid(pid))[1]
from pyrunc.cli.main import entry
entry()
"""


@pytest.fixture(scope="module")
def runtime_command(tmp_path_factory) -> str:
    """A runtime whose stage is slow to speak."""
    path: Path = tmp_path_factory.mktemp("slow") / "pyrunc"
    program = shlex.quote(PROGRAM.format(checkout=str(CHECKOUT)).strip())
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -ISE -c {program} "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def staged(bundle):
    """A bundle that needs a stage: offsets are set before the first process is in the namespace."""
    bundle.namespace("time")
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1_000_000}}
    return bundle


@needs_namespace("time")
def test_an_init_that_overtakes_its_stage_is_heard(runtime, staged):
    assert float(runtime.ask(staged, uptime="cat /proc/uptime")["uptime"].split()[0]) > 1_000_000


@needs_namespace("time")
def test_so_is_one_that_overtakes_it_with_a_failure(runtime, staged):
    staged.mount("/a", "nonsense")
    id = runtime.prepare(staged, "true")
    runtime("run", "--bundle", staged.path, id).failed("no such device")


@needs_namespace("time")
def test_so_is_an_exec(runtime, staged):
    runtime.launch(staged, "sleep", "1000")
    answers = runtime.ask_exec(staged, uptime="cat /proc/uptime")
    assert float(answers["uptime"].split()[0]) > 1_000_000
