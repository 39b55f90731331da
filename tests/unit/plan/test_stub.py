"""plan.stub: the image is a sound ELF file, and does what its table says, on this machine and on another."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.plan.stub import (
    STEP_EXECVE,
    FilterProgram,
    Result,
    Scratch,
    Stub,
    StubCall,
    Text,
    Texts,
    build_stub,
)

BASE, HEADER = 0x400000, 64 + 56
MACHINES = {"x86_64": 62, "aarch64": 183}
EMULATORS = {"aarch64": "qemu-aarch64-static", "x86_64": "qemu-x86_64-static"}
EXIT = {"x86_64": 231, "aarch64": 94}
every_machine = pytest.mark.parametrize("machine", MACHINES)
NO_PROGRAM = (b"/nonexistent",)


def build(
    *calls: StubCall, machine: str, candidates=NO_PROGRAM, argv=(b"x",), env=(), home_size=0, channel=1
) -> Stub:
    return build_stub(
        calls, machine=machine, channel=channel, candidates=candidates, argv=argv, env=env,
        home_size=home_size,
    )  # fmt: skip


def choose(stub: Stub, number: int = 0) -> bytes:
    """As the child does: the address of the program's name into its slot."""
    image = bytearray(stub.image)
    image[stub.program_pointer : stub.program_pointer + 8] = stub.candidates[number].to_bytes(8, "little")
    return bytes(image)


Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def run(machine: str, tmp_path: Path) -> Run:
    """Runs an image, by an emulator if it is for another machine."""
    emulator = EMULATORS[machine]
    prefix: list[str] = []
    if platform.machine() != machine:
        if shutil.which(emulator) is None:
            pytest.skip(f"not installed: {emulator}")
        prefix = [emulator]

    def run(image: bytes, **how: object) -> subprocess.CompletedProcess[bytes]:
        path = tmp_path / "stub"
        path.write_bytes(image)
        path.chmod(0o755)
        return subprocess.run([*prefix, str(path)], stdout=subprocess.PIPE, timeout=30, **how)  # type: ignore[call-overload,no-any-return]

    return run


def failures(output: bytes) -> tuple[bytes, int, int]:
    """The frame at the end: tag, step, errno."""
    tag, step, code = struct.unpack("<III", output[-12:])
    return bytes([tag]), step, code


# -- the file ------------------------------------------------------------------------------------------


@every_machine
def test_the_elf_header(machine):
    image = build(StubCall(call="close", args=(0,)), machine=machine).image
    ident, kind, number, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum = struct.unpack(
        "<16sHHIQQQIHHH", image[:58]
    )
    assert ident == b"\x7fELF\x02\x01\x01" + bytes(9)
    assert (kind, number, version) == (2, MACHINES[machine], 1)
    assert (entry, phoff, shoff, flags) == (BASE + HEADER, 64, 0, 0)
    assert (ehsize, phentsize, phnum) == (64, 56, 1)


@every_machine
def test_the_only_segment_is_all_of_it_and_not_writable(machine):
    image = build(StubCall(call="close", args=(0,)), machine=machine, home_size=100).image
    kind, flags, offset, address, physical, size, memory, align = struct.unpack("<IIQQQQQQ", image[64:120])
    assert (kind, flags) == (1, 4 | 1)
    assert (offset, address, physical, align) == (0, BASE, BASE, 0x1000)
    assert size == memory == len(image)


@every_machine
def test_places_in_the_image(machine):
    stub = build(
        StubCall(call="close", args=(0,)), machine=machine, candidates=(b"/one", b"/two"), env=(b"A=1",),
        home_size=64,
    )  # fmt: skip

    def text_at(address: int) -> bytes:
        return stub.image[address - BASE :].partition(b"\0")[0]

    def word(offset: int) -> int:
        return int.from_bytes(stub.image[offset : offset + 8], "little")

    assert [text_at(address) for address in stub.candidates] == [b"/one", b"/two"]
    assert word(stub.program_pointer) == 0
    assert text_at(word(stub.home_pointer - 8)) == b"A=1"
    assert (word(stub.home_pointer), word(stub.home_pointer + 8)) == (0, 0)
    assert stub.image[stub.home_text : stub.home_text + stub.home_size] == bytes(64)
    assert Stub.address_of(stub.home_text) == BASE + stub.home_text


@every_machine
def test_equal_strings_are_kept_once(machine):
    image = build(
        StubCall(call="write", args=(1, Text(data=b"marker"), 6)), machine=machine, argv=(b"same", b"same"),
        env=(b"same",),
    ).image  # fmt: skip
    assert image.count(b"same\0") == 1


def test_a_machine_that_is_not_known():
    with pytest.raises(PyruncError) as caught:
        build(StubCall(call="close"), machine="pdp11")
    assert (caught.value.kind, caught.value.where) == (UNSUPPORTED, "pdp11")


# -- the program ---------------------------------------------------------------------------------------


@every_machine
def test_it_makes_its_calls_in_order_and_executes_the_program(machine, run, tmp_path):
    """Only an interpreter's own machine can execute a program by execve."""
    if platform.machine() != machine:
        pytest.skip("the emulator would execute a program of this machine")
    stub = build(
        StubCall(call="write", args=(1, Text(data=b"one "), 4)),
        StubCall(call="write", args=(1, Text(data=b"two "), 4)),
        machine=machine, candidates=(b"/nonexistent", b"/bin/sh"),
        argv=(b"sh", b"-c", b'echo "$0 $A $B"; exit 7', b"name"), env=(b"A=x y", b"B="),
    )  # fmt: skip
    done = run(choose(stub, 1))
    assert (done.stdout, done.returncode) == (b"one two name x y \n", 7)


@every_machine
def test_a_failed_call_tells_its_step_and_ends(machine, run):
    stub = build(
        StubCall(call="write", args=(1, Text(data=b"before"), 6)),
        StubCall(call="close", args=(77,), step=0x1234),
        StubCall(call="write", args=(1, Text(data=b"after"), 5)),
        machine=machine,
    )  # fmt: skip
    done = run(choose(stub))
    assert done.returncode == 255
    assert done.stdout[:-12] == b"before"
    assert failures(done.stdout) == (b"S", 0x1234, errno.EBADF)


@every_machine
def test_a_call_that_may_fail_does_not_end_it(machine, run):
    stub = build(
        StubCall(call="close", args=(77,), ignore=True),
        StubCall(call="write", args=(1, Text(data=b"on"), 2)),
        machine=machine,
    )  # fmt: skip
    done = run(choose(stub))
    assert done.stdout[:-12] == b"on"
    assert failures(done.stdout) == (b"S", STEP_EXECVE, errno.ENOENT)


@every_machine
def test_a_late_failure_goes_to_the_next_descriptor(machine, run):
    """Which is the fifo, where `start` reads."""
    read, write = os.pipe()
    try:
        image = choose(
            build(StubCall(call="close", args=(777,), late=True, step=3), machine=machine, channel=write - 1)
        )
        assert run(image, pass_fds=(write,)).returncode == 255
        assert failures(os.read(read, 100)) == (b"S", 3, errno.EBADF)
    finally:
        os.close(read)
        os.close(write)


@every_machine
def test_scratch_memory_takes_what_is_read(machine, run):
    stub = build(
        StubCall(call="read", args=(0, Scratch(), 1)),
        StubCall(call="read", args=(0, Scratch(), 1)),
        StubCall(call="write", args=(1, Text(data=b"read"), 4)),
        machine=machine,
    )  # fmt: skip
    done = run(choose(stub), input=b"ab")
    assert done.stdout[:-12] == b"read"
    assert failures(done.stdout) == (b"S", STEP_EXECVE, errno.ENOENT)


@every_machine
def test_the_result_of_a_call_is_an_argument_of_the_next(machine, run, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    stub = build(
        StubCall(call="openat", args=(-100, Text(data=bytes(tmp_path / "file") + b"\0"), os.O_WRONLY)),
        StubCall(call="write", args=(Result(), Text(data=b"there"), 5)),
        StubCall(call="write", args=(1, Text(data=b"here"), 4)),
        machine=machine,
    )  # fmt: skip
    assert run(choose(stub)).stdout[:-12] == b"here"
    assert (tmp_path / "file").read_bytes() == b"there"


@every_machine
def test_a_late_failure_of_a_call_that_takes_a_result(machine, run):
    read, write = os.pipe()
    try:
        stub = build(
            StubCall(call="fcntl", args=(0, 1)),  # F_GETFD: 0, which is closed twice then
            StubCall(call="close", args=(Result(),)),
            StubCall(call="close", args=(Result(),), late=True, step=3),
            machine=machine, channel=write - 1,
        )  # fmt: skip
        assert run(choose(stub), pass_fds=(write,)).returncode == 255
        assert failures(os.read(read, 100)) == (b"S", 3, errno.EBADF)
    finally:
        os.close(read)
        os.close(write)


@every_machine
def test_six_arguments_reach_the_kernel(machine, run, tmp_path):
    """prctl, of a later argument that must be zero: EINVAL tells that each register is loaded."""
    for place in (1, 2, 3):
        args = [39, 0, 0, 0, 0]  # PR_GET_NO_NEW_PRIVS
        args[place] = 5
        stub = build(StubCall(call="prctl", args=tuple(args), step=place), machine=machine)
        assert failures(run(choose(stub)).stdout) == (b"S", place, errno.EINVAL)
    stub = build(StubCall(call="prctl", args=(39, 0, 0, 0, 0), step=9), machine=machine)
    assert failures(run(choose(stub)).stdout) == (b"S", STEP_EXECVE, errno.ENOENT)


def test_a_filter_program_is_its_length_and_an_aligned_address():
    instructions = bytes(range(16))
    stub = build(StubCall(call="seccomp", args=(1, 0, FilterProgram(instructions=instructions))),
                 machine="x86_64")  # fmt: skip
    image = stub.image
    at = image.index(instructions)
    assert at % 8 == 0
    sock_fprog = struct.pack("<QQ", 2, BASE + at)
    assert image.index(sock_fprog) % 8 == 0


def test_a_list_of_strings_ends_with_null_and_has_spare_room():
    stub = build(StubCall(call="close", args=(Texts(items=(b"a", b"b"), spare=2),)), machine="x86_64")
    first = stub.image.index(b"a\0b\0")
    words = struct.pack("<5Q", BASE + first, BASE + first + 2, 0, 0, 0)
    assert words in stub.image
