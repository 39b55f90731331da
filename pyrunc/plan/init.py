"""`--init`: the stub stays, as a PID 1 that does what one has to, and the program is its child.

A program that was not written for it makes a bad PID 1: signals that it doesn't handle are dropped for it
there, and orphans that it doesn't know stay zombies for ever. So the stub, instead of executing the program,
clones, and the child executes it. The parent is a loop of some thirty instructions: wait for a signal; pass
it on, or, for SIGCHLD, reap all that have ended; end as the program did, with 128 and the signal's number
where one ended it. What tini and catatonit do, without a file of theirs: what runs is the sealed memory that
the stub is, and nothing of the host can be reached through it.

The program gets a process group of its own, which is the terminal's foreground one, and no signal blocked. A
signal that the loop has is blocked and waited for, so none is lost, also between two looks; those that tell
of a mistake of a process of its own (SIGSEGV and the like) are left as they are. Sources: signal(7),
rt_sigtimedwait(2), wait4(2), pid_namespaces(7).
"""

from __future__ import annotations

from pyrunc.kernel import const as c
from pyrunc.kernel.const import SYSCALLS
from pyrunc.record import Record

NAME = b"pyrunc-init"
_SYNCHRONOUS = (4, 5, 6, 7, 8, 11, 31)  # ILL TRAP ABRT BUS FPE SEGV SYS
_SIGCHLD = 17
_BLOCK, _SET = 0, 2
_WNOHANG = 1
_PAGE, _PAGE_BYTES = 0x60_0000, 4096  # above the stub: a word that can be written to
_READ_WRITE, _PRIVATE_FIXED_ANONYMOUS = 3, 0x32
_CLONE_CHILD_SETTID = 0x0100_0000
MASK = (~sum(1 << (number - 1) for number in _SYNCHRONOUS) & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little")


class InitCall(Record):
    """A call of the stub's table; bytes among `args` stand for their address. `ignore`: it may fail."""

    call: str
    args: tuple[int | bytes, ...]
    ignore: bool = False
    words: str = ""


def init_calls(machine: str) -> tuple[InitCall, ...]:
    """What comes between the last call of the stub and the program. The child is told its own pid in memory,
    from where the terminal takes it as its foreground group."""
    flags = _CLONE_CHILD_SETTID | _SIGCHLD
    clone = (flags, 0, 0, 0, _PAGE) if machine == "aarch64" else (flags, 0, 0, _PAGE, 0)  # CLONE_BACKWARDS
    return (
        InitCall(
            call="mmap", args=(_PAGE, _PAGE_BYTES, _READ_WRITE, _PRIVATE_FIXED_ANONYMOUS, 0xFFFF_FFFF, 0)
        ),
        InitCall(call="prctl", args=(c.PR_SET_NAME, NAME + b"\0"), ignore=True),
        InitCall(call="rt_sigprocmask", args=(_BLOCK, MASK, 0, 8)),
        InitCall(call="clone", args=clone, words="the parent stays as init"),
        InitCall(call="setpgid", args=(0, 0), ignore=True),
        InitCall(call="ioctl", args=(0, c.TIOCSPGRP, _PAGE), ignore=True, words="TIOCSPGRP, if that is one"),
        InitCall(call="rt_sigprocmask", args=(_SET, bytes(8), 0, 8)),
    )


def init_argv(args: tuple[str, ...]) -> tuple[bytes, ...]:
    """The command line that /proc/1/cmdline shows."""
    return (NAME, b"--", *(item.encode("utf-8", "surrogateescape") for item in args))


def _little4(value: int) -> bytes:
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")


def init_x86_64(address: int, channel: int) -> bytes:
    """The parent after the clone; r12 is the program's pid. It lets go of the descriptors that the child has,
    or `start` would wait for us."""
    numbers = SYSCALLS["x86_64"]

    def call(name: str) -> bytes:
        return b"\xb8" + _little4(numbers[name]) + b"\x0f\x05"  # mov eax, number; syscall

    prologue = b"\xbf" + _little4(channel) + call("close")  # mov edi, channel
    prologue += b"\xbf" + _little4(channel + 1) + call("close")
    prologue += b"\xbf" + _little4(3) + b"\xbe\xff\xff\xff\xff\x31\xd2" + call("close_range")  # 3, ~0, 0
    prologue += b"\x48\x83\xec\x10"  # sub rsp, 16
    forward = b"\x89\xc6\x44\x89\xe7" + call("kill")  # mov esi, eax; mov edi, r12d
    reap = b"\xbf\xff\xff\xff\xff\x48\x89\xe6"  # mov edi, -1; mov rsi, rsp
    reap += b"\xba" + _little4(_WNOHANG) + b"\x45\x31\xd2" + call("wait4")  # mov edx, WNOHANG; xor r10d, r10d
    end = b"\x8b\x3c\x24\x89\xf8\x83\xe0\x7f"  # mov edi, [rsp]; mov eax, edi; and eax, 0x7f
    by_exit = b"\xc1\xef\x08\x81\xe7" + _little4(0xFF)  # shr edi, 8; and edi, 0xff
    by_signal = b"\x8d\xb8" + _little4(128)  # lea edi, [rax+128]
    by_exit += b"\xeb" + bytes([len(by_signal)])  # jmp out
    end += b"\x75" + bytes([len(by_exit)]) + by_exit + by_signal + call("exit_group")  # jne by_signal

    def wait(mask: int) -> bytes:
        found = (
            b"\xbf" + _little4(mask) + b"\x31\xf6\x31\xd2"
        )  # loop: mov edi, mask; xor esi, esi; xor edx, edx
        found += b"\x41\xba" + _little4(8) + call("rt_sigtimedwait")  # mov r10d, 8
        found += b"\x85\xc0\x78" + bytes([5 + len(forward)])  # test eax, eax; js reap
        return found + b"\x83\xf8" + bytes([_SIGCHLD]) + b"\x74" + bytes([len(forward)])  # cmp; je reap

    look = len(wait(0)) + len(forward) + len(reap)
    judge = b"\x85\xc0\x7e" + bytes([256 - (look + 4)])  # test eax, eax; jle loop
    judge += b"\x44\x39\xe0\x75" + bytes([256 - (len(reap) + len(judge) + 5)])  # cmp eax, r12d; jne reap
    size = len(prologue) + look + len(judge) + len(end)
    return prologue + wait(address + size) + forward + reap + judge + end + MASK


def init_aarch64(address: int, channel: int) -> list[int]:
    """The parent after the clone; w20 is the program's pid."""
    numbers = SYSCALLS["aarch64"]
    svc, minus_one = 0xD4000001, 0x12800000  # movn wN, #0

    def movz(register: int, value: int) -> int:
        return 0x52800000 | value << 5 | register

    def call(name: str) -> list[int]:
        return [movz(8, numbers[name]), svc]

    prologue = [movz(0, channel), *call("close"), movz(0, channel + 1), *call("close")]
    prologue += [movz(0, 3), minus_one | 1, movz(2, 0), *call("close_range"), 0xD10043FF]  # sub sp, sp, #16
    forward = [0x2A0003E1, 0x2A1403E0, *call("kill")]  # mov w1, w0; mov w0, w20
    reap = [minus_one, 0x910003E1, movz(2, _WNOHANG), movz(3, 0), *call("wait4")]  # mov x1, sp
    end = [
        0xB94003E0,  # ldr w0, [sp]
        0x72001801,  # ands w1, w0, #0x7f
        0x54000001 | 3 << 5,  # b.ne by_signal
        0x53083C00,  # ubfx w0, w0, #8, #8
        0x14000002,  # b out
        0x11020020,  # by_signal: add w0, w1, #128
        *call("exit_group"),
    ]

    def wait(mask: int) -> list[int]:
        return [
            movz(0, mask & 0xFFFF),  # loop:
            0x72A00000 | (mask >> 16) << 5,  # movk w0, #high, lsl #16
            movz(1, 0), movz(2, 0), movz(3, 8), *call("rt_sigtimedwait"),
            0x37F80000 | (3 + len(forward)) << 5,  # tbnz w0, #31, reap
            0x71000000 | _SIGCHLD << 10 | 31,  # cmp w0, #17
            0x54000000 | (1 + len(forward)) << 5,  # b.eq reap
        ]  # fmt: skip

    def back(count: int) -> int:
        return (-count & 0x7FFFF) << 5

    look = len(wait(0)) + len(forward) + len(reap)
    judge = [
        0x7100001F,  # cmp w0, #0
        0x5400000D | back(look + 1),  # b.le loop
        0x6B14001F,  # cmp w0, w20
        0x54000001 | back(len(reap) + 3),  # b.ne reap
    ]
    size = 4 * (len(prologue) + look + len(judge) + len(end))
    mask = [int.from_bytes(MASK[at : at + 4], "little") for at in (0, 4)]
    return [*prologue, *wait(address + size), *forward, *reap, *judge, *end, *mask]
