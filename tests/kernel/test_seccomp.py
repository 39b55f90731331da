"""Filters of plan.seccomp, loaded: the kernel takes them, and answers calls as they say.

Each filter is loaded by a forked child, which makes raw calls and reports (result, errno) of each.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support import seccomp_profiles

from pyrunc.oci.config import Seccomp, SeccompArg, SeccompSyscall
from pyrunc.plan.seccomp import SeccompProgram, compile_seccomp

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="call numbers are those of x86_64")

PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER = 38, 1
LSEEK, GETPID, PERSONALITY, SECCOMP, GETPPID, BPF, MSEAL = 8, 39, 135, 317, 110, 321, 462
X32_BIT = 1 << 30
PER_LINUX32 = 8
MARK = 77  # an errno that no call below would give by itself

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.syscall.argtypes = (ctypes.c_long,) + (ctypes.c_ulong,) * 6


class SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load(program: SeccompProgram) -> int:
    fprog = SockFprog(len(program.instructions) // 8, program.instructions)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    result, code = call(SECCOMP, SECCOMP_SET_MODE_FILTER, program.flags, ctypes.addressof(fprog))
    assert result >= 0, os.strerror(code)
    return result


def call(number: int, *arguments: int) -> tuple[int, int]:
    ctypes.set_errno(0)
    result = libc.syscall(number, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    return result, ctypes.get_errno()


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns in a child of ours; the number of the signal, if one killed it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    return json.loads(text)


def calls_under(program: SeccompProgram, *calls: Sequence[int]) -> Any:
    def work() -> list[tuple[int, int]]:
        load(program)
        return [call(*each) for each in calls]

    return in_child(work)


def errnos_under(program: SeccompProgram, *calls: Sequence[int]) -> list[int]:
    return [code for _, code in calls_under(program, *calls)]


def allowing_all_but(*rules: SeccompSyscall, **fields: Any) -> SeccompProgram:
    return compile_seccomp(Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=rules, **fields), "x86_64")


def rule(name: str, action: str = "SCMP_ACT_ERRNO", args: tuple[SeccompArg, ...] = ()) -> SeccompSyscall:
    errno_ret = MARK if action == "SCMP_ACT_ERRNO" else None
    return SeccompSyscall(names=(name,), action=action, errno_ret=errno_ret, args=args)


def engine_profile(engine: str, flags: tuple[str, ...] | None = None) -> SeccompProgram:
    profile = seccomp_profiles.load(engine)
    calls = tuple(
        SeccompSyscall(
            names=tuple(each["names"]),
            action=each["action"],
            errno_ret=each.get("errnoRet"),
            args=tuple(
                SeccompArg(
                    index=arg["index"], value=arg["value"], value_two=arg.get("valueTwo", 0), op=arg["op"]
                )
                for arg in each.get("args", ())
            ),
        )
        for each in profile["syscalls"]
    )
    seccomp = Seccomp(
        default_action=profile["defaultAction"],
        default_errno_ret=profile.get("defaultErrnoRet"),
        architectures=tuple(profile["architectures"]),
        flags=flags,
        syscalls=calls,
    )
    return compile_seccomp(seccomp, "x86_64")


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_the_profile_of_an_engine(engine):
    """bpf is forbidden; mseal is newer than the profile, which means that there is no such call."""
    calls = ((GETPID,), (BPF,), (MSEAL,), (PERSONALITY, PER_LINUX32), (PERSONALITY, 1))

    codes = errnos_under(engine_profile(engine), *calls)

    not_listed = errno.EPERM if engine == "docker" else errno.ENOSYS
    assert codes == [0, errno.EPERM, errno.ENOSYS, 0, not_listed]


@pytest.mark.parametrize("flags", [(), ("SECCOMP_FILTER_FLAG_LOG",), ("SECCOMP_FILTER_FLAG_TSYNC",), None])
def test_flags_that_the_kernel_takes(flags):
    assert errnos_under(engine_profile("docker", flags), (GETPID,)) == [0]


OFFSETS = [0, 5, (1 << 32) + 4, (1 << 32) + 5, (1 << 32) + 6, (2 << 32) + 5, (1 << 63) + 5]


@pytest.mark.parametrize(
    ("operator", "holds"),
    [
        ("EQ", lambda a, b: a == b),
        ("NE", lambda a, b: a != b),
        ("LT", lambda a, b: a < b),
        ("LE", lambda a, b: a <= b),
        ("GT", lambda a, b: a > b),
        ("GE", lambda a, b: a >= b),
        ("MASKED_EQ", lambda a, b: a & b == b),
    ],
)
def test_comparisons_are_64_bits_wide(operator, holds):
    value = (1 << 32) + 5
    condition = SeccompArg(index=1, op=f"SCMP_CMP_{operator}", value=value, value_two=value)
    program = allowing_all_but(rule("lseek", args=(condition,)))

    codes = errnos_under(program, *((LSEEK, 1 << 20, offset) for offset in OFFSETS))

    assert codes == [MARK if holds(offset, value) else errno.EBADF for offset in OFFSETS]


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"])
def test_actions_that_end_the_process(action):
    assert calls_under(allowing_all_but(rule("getppid", action)), (GETPPID,)) == signal.SIGSYS


def test_actions_that_do_not():
    assert calls_under(allowing_all_but(rule("getppid", "SCMP_ACT_LOG")), (GETPPID,)) == [[os.getpid(), 0]]
    # without a tracer there is no such call
    assert errnos_under(allowing_all_but(rule("getppid", "SCMP_ACT_TRACE")), (GETPPID,)) == [errno.ENOSYS]


@pytest.mark.parametrize("flags", [None, ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",)])
def test_a_rule_that_notifies_gets_a_listener(flags):
    program = allowing_all_but(rule("getppid", "SCMP_ACT_NOTIFY"), listener_path="/run/agent", flags=flags)
    assert in_child(lambda: os.readlink(f"/proc/self/fd/{load(program)}")) == "anon_inode:seccomp notify"


def test_x32_calls_kill():
    assert calls_under(allowing_all_but(rule("getppid")), (X32_BIT + GETPID,)) == signal.SIGSYS


# --- calls of 32-bit x86, which a 64-bit process can make too -------------------------------------

# push rbx; mov eax, edi; mov ebx, esi; mov ecx, edx; int 0x80; pop rbx; ret
INT_0X80 = bytes.fromhex("53 89f8 89f3 89d1 cd80 5b c3")
X86_GETPID, X86_SOCKETCALL, X86_SOCKET, SYS_SOCKET, SYS_BIND = 20, 102, 359, 1, 2


def call_x86(number: int, *arguments: int) -> int:
    """The result, or a negative errno."""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(INT_0X80)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)
    function = prototype(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    return int(function(number, *(*arguments, 0, 0)[:2]))


def x86_calls_under(program: SeccompProgram, *calls: Sequence[int]) -> Any:
    def work() -> list[int]:
        load(program)
        return [call_x86(*each) for each in calls]

    return in_child(work)


@pytest.fixture(scope="module")
def _ia32():
    if not isinstance(in_child(lambda: [call_x86(X86_GETPID)]), list):
        pytest.skip("this kernel has no 32-bit calls (CONFIG_IA32_EMULATION)")


@pytest.mark.usefixtures("_ia32")
def test_32_bit_calls_go_by_their_own_numbers_and_through_socketcall():
    program = allowing_all_but(rule("socket"), architectures=("SCMP_ARCH_X86",))
    calls = (X86_SOCKET,), (X86_SOCKETCALL, SYS_SOCKET), (X86_SOCKETCALL, SYS_BIND), (GETPID,)

    results = x86_calls_under(program, *calls)

    assert results[:2] == [-MARK, -MARK]
    assert results[2] == -errno.EFAULT
    assert results[3] != -MARK


@pytest.mark.usefixtures("_ia32")
def test_32_bit_calls_kill_where_they_are_not_listed():
    assert x86_calls_under(allowing_all_but(rule("socket")), (X86_GETPID,)) == signal.SIGSYS
