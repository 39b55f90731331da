"""plan.init: the code that stays as PID 1 passes signals on, reaps, and ends as its child did."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrunc.plan.init import MASK, init_argv, init_calls
from pyrunc.plan.stub import StubCall, Text, build_stub

EMULATORS = {"aarch64": "qemu-aarch64-static", "x86_64": "qemu-x86_64-static"}
every_machine = pytest.mark.parametrize("machine", EMULATORS)

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(machine: str, tmp_path: Path) -> Start:
    """An init whose program is a shell script. By an emulator the init alone is another machine's."""
    prefix: list[str] = []
    if platform.machine() != machine:
        emulator = shutil.which(EMULATORS[machine])
        if emulator is None:
            pytest.skip(f"not installed: {EMULATORS[machine]}")
        prefix = [emulator]

    def start(script: str, program: bytes = b"/bin/sh") -> subprocess.Popen[bytes]:
        calls = tuple(
            StubCall(
                call=item.call,
                args=tuple(Text(data=value) if isinstance(value, bytes) else value for value in item.args),
                ignore=item.ignore,
                step=7,
            )
            for item in init_calls(machine)
        )
        stub = build_stub(
            calls, machine=machine, channel=1, candidates=(program,), argv=(b"sh", b"-c", script.encode()),
            env=(b"PATH=/usr/bin:/bin",), home_size=0, stays=True,
        )  # fmt: skip
        image = bytearray(stub.image)
        image[stub.program_pointer : stub.program_pointer + 8] = stub.candidates[0].to_bytes(8, "little")
        path = tmp_path / "init"
        path.write_bytes(image)
        path.chmod(0o755)
        return subprocess.Popen([*prefix, str(path)], stdout=subprocess.PIPE)

    return start


@every_machine
@pytest.mark.parametrize(
    ("script", "code"), [("exit 7", 7), ("true", 0), ("kill -9 $$", 137), ("exit 255", 255)]
)
def test_it_ends_as_its_child_did(machine, start, script, code):
    done = start(f"echo said; {script}")
    assert done.stdout is not None
    assert done.stdout.read() == b"said\n"
    assert done.wait(20) == code


@every_machine
def test_a_signal_is_passed_on(machine, start):
    done = start("trap 'echo heard; exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    assert done.stdout is not None
    assert done.stdout.readline() == b"ready\n"
    done.send_signal(signal.SIGTERM)
    assert done.stdout.read() == b"heard\n"
    assert done.wait(20) == 5


@every_machine
def test_the_child_has_a_group_of_its_own_and_no_signal_blocked(machine, start):
    done = start("cut -d' ' -f1,5 /proc/self/stat; grep SigBlk /proc/self/status; ps -o pgid= -p $$; echo $$")
    output = done.communicate(timeout=20)[0].split()
    assert output[3] == b"0" * 16
    assert output[1] == output[4] == output[5]


@every_machine
def test_a_program_that_can_not_be_executed_is_told_as_without_an_init(machine, start):
    done = start("", program=b"/nonexistent")
    output = done.communicate(timeout=20)[0]
    assert struct.unpack("<III", output) == (ord("S"), 0xFFFF, 2)
    assert done.returncode == 255


@every_machine
def test_children_of_others_are_reaped(machine, start):
    """Orphans come to it as the subreaper that a PID 1 is of itself: here the sort of child that it has."""
    done = start("sleep 0.2 & exec sleep 0.4")
    time.sleep(0.3)
    assert done.wait(20) == 0


def test_the_signals_that_are_waited_for():
    blocked = int.from_bytes(MASK, "little")
    for name in ("TERM", "INT", "HUP", "CHLD", "TTOU", "USR1", "RTMAX"):
        assert blocked >> (signal.Signals[f"SIG{name}"] - 1) & 1
    for name in ("SEGV", "BUS", "FPE", "ILL", "ABRT", "TRAP", "SYS"):
        assert not blocked >> (signal.Signals[f"SIG{name}"] - 1) & 1


def test_its_command_line():
    assert init_argv(("a", "b c")) == (b"pyrunc-init", b"--", b"a", b"b c")
    assert os.fsencode(init_argv(("\udcff",))[2]) == b"\xff"
