"""The waiting stub: the last program of ours in a container, a static ELF of one segment.

Between `create` and `start`, and in every `exec`, no interpreter waits inside the container. The child
executes a file made here: a loop of some twenty instructions over a table of system calls, with their data
behind it. So what runs with the container's own credentials is a list that can be read: drop capabilities,
set ids, wait on the fifo, load the seccomp program, execve. Why: /proc/self/exe is then a sealed memfd,
never the host's interpreter (CVE-2019-5736); the container holds a few pages where runc holds 5 MiB; and no
Python ever runs as the container's user.

A call that fails writes (`S`, its step, errno) as three 32-bit words to the descriptor `channel`, or to the
one after it, the fifo, if it is `late`, and ends the process; `ignore` lets it pass. Sources:
elf(5) for the layout, syscall(2) for the calling conventions.
"""

from __future__ import annotations

import struct

from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.kernel.const import SYSCALLS
from pyrunc.later import later
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import init
else:
    init = later("pyrunc.plan.init")

FAILED, READY, FILTERED = b"S", b"R", b"N"
STEP_EXECVE, STEP_SECCOMP = 0xFFFF, 0xFFFE  # steps after `ready`, which `start` has to tell apart

_BASE = 0x400000
_HEADER = 64 + 56
_IGNORE, _SCRATCH, _RESULT, _LATE = 1, 2, 4, 8
_pack_entry = struct.Struct("<IHH6Q").pack  # nr, flags, step, six arguments
_ENTRY = 56
_EXIT_STATUS = 255


class Text(Record):
    """Bytes in the image; as an argument: their address."""

    data: bytes


class Texts(Record):
    """A NULL-terminated array of strings; as an argument: its address. `spare` slots stay NULL after them."""

    items: tuple[bytes, ...]
    spare: int = 0


class FilterProgram(Record):
    """struct sock_fprog of `instructions` (struct sock_filter each)."""

    instructions: bytes


class Scratch(Record):
    """A few writable bytes, for a read whose result nobody wants. Only as the second argument."""


class Result(Record):
    """What the call before returned. Only as the first argument."""


class StubCall(Record):
    """One system call. `step` is what is told if it fails, if that isn't its place among the calls (0).
    `late`: after `ready`, when nobody listens on the channel any more. `words`: what it is for, where its
    name doesn't say."""

    call: str
    args: tuple[int | Text | Texts | FilterProgram | Scratch | Result, ...] = ()
    words: str = ""
    ignore: bool = False
    late: bool = False
    step: int = 0
    origin: str = ""


def find_call(calls: tuple[StubCall, ...], step: int) -> StubCall | None:
    """Whose failure is told by `step`."""
    return next((call for place, call in enumerate(calls) if (call.step or place) == step), None)


class Stub(Record):
    """`image`: the file. Offsets into it: `home_pointer`, the spare slot of the environment; `home_text`,
    where its string goes, `home_size` bytes; `program_pointer`, the slot of execve's first argument, and the
    addresses of the candidates for it."""

    image: bytes
    home_pointer: int
    home_text: int
    home_size: int
    program_pointer: int
    candidates: tuple[int, ...]

    @staticmethod
    def address_of(offset: int) -> int:
        """Where in memory the byte at `offset` of the image is."""
        return _BASE + offset


class _Image:
    """What follows the code, growing; strings that are equal are kept once."""

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.data = bytearray()
        self.known: dict[bytes, int] = {}

    def add(self, data: bytes, align: int = 1) -> int:
        self.data += bytes(-(self.begin + len(self.data)) % align)
        offset = self.begin + len(self.data)
        self.data += data
        return offset

    def add_text(self, text: bytes) -> int:
        if text not in self.known:
            self.known[text] = self.add(text)
        return self.known[text]

    def place(self, argument: int | Text | Texts | FilterProgram | Scratch | Result) -> int:
        """The machine word for an argument; what it points to is put into the image."""
        if isinstance(argument, int):
            return argument & 0xFFFF_FFFF_FFFF_FFFF
        if isinstance(argument, Text):
            return _BASE + self.add_text(argument.data)
        if isinstance(argument, Texts):
            return _BASE + self.place_texts(argument)
        if isinstance(argument, FilterProgram):
            program = _BASE + self.add(argument.instructions, 8)
            return _BASE + self.add(_words(len(argument.instructions) // 8, program), 8)
        return 0

    def place_texts(self, texts: Texts) -> int:
        addresses = [_BASE + self.add_text(item + b"\0") for item in texts.items]
        return self.add(_words(*addresses, *(0,) * (texts.spare + 1)), 8)


def _little4(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def build_stub(
    calls: tuple[StubCall, ...],
    *,
    machine: str,
    channel: int,
    candidates: tuple[bytes, ...],
    argv: tuple[bytes, ...],
    env: tuple[bytes, ...],
    home_size: int,
    stays: bool = False,
) -> Stub:
    """An image which makes `calls`, then executes the program with `argv` and `env`.

    Which of `candidates` the program is, the child decides by patching `program_pointer`; `home_size` bytes
    are kept for a HOME that only the container's /etc/passwd tells. `stays`: `calls` end with those of
    `plan.init`, and what clones the program's process stays as the container's init.
    Raises PyruncError UNSUPPORTED for a machine that has no encoder here.
    """
    if machine not in _CODE:
        known = ", ".join(sorted(_CODE))
        raise PyruncError(
            UNSUPPORTED, "cannot start containers on this machine", machine, f"known are {known}"
        )
    code = _CODE[machine](_HEADER, channel, stays)
    table_at = (_HEADER + len(code) + 7) & ~7
    image = _Image(table_at + _ENTRY * (len(calls) + 1))
    arguments = [(call, [image.place(item) for item in call.args]) for call in calls]
    environment = image.place_texts(Texts(items=env, spare=1 if home_size else 0))
    program = image.place(Texts(items=argv))
    addresses = tuple(_BASE + image.add_text(item + b"\0") for item in candidates)
    home_text = image.add(bytes(home_size)) if home_size else 0
    execve = StubCall(call="execve", step=STEP_EXECVE, late=calls[-1].late)
    arguments.append((execve, [0, program, _BASE + environment]))
    numbers = SYSCALLS[machine]
    table = b"".join(
        [_encode(numbers[call.call], call, place, values) for place, (call, values) in enumerate(arguments)]
    )
    body = code + bytes(table_at - _HEADER - len(code)) + table + image.data
    return Stub(
        image=_header(machine, _HEADER + len(body)) + body,
        home_pointer=environment + 8 * len(env),
        home_text=home_text,
        home_size=home_size,
        program_pointer=table_at + _ENTRY * len(calls) + 8,
        candidates=addresses,
    )


def _encode(number: int, call: StubCall, place: int, values: list[int]) -> bytes:
    flags = (_IGNORE if call.ignore else 0) | (_LATE if call.late else 0)
    kinds = {*map(type, call.args)}
    if Scratch in kinds:
        flags |= _SCRATCH
    if Result in kinds:
        flags |= _RESULT
    return _pack_entry(number, flags, call.step or place, *values, *(0,) * (6 - len(values)))


def _header(machine: str, size: int) -> bytes:
    """ELF header and the only program header: one segment, readable and executable."""
    number = {"x86_64": 62, "aarch64": 183}[machine]
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = (
        ident
        + b"".join(value.to_bytes(2, "little") for value in (2, number))
        + _little4(1)
        + _words(_BASE + _HEADER, 64, 0)
    )
    header += bytes(4) + b"".join(value.to_bytes(2, "little") for value in (64, 56, 1, 0, 0, 0))
    readable_executable = 5
    segment = _little4(1) + _little4(readable_executable)
    return header + segment + _words(0, _BASE, _BASE, size, size, 0x1000)


def _code_x86_64(begin: int, channel: int, stays: bool) -> bytes:
    """rbx walks the table, r12 has the last result. Nothing else lives across a call."""
    numbers = SYSCALLS["x86_64"]
    report = (
        b"\xf7\xd8"  # neg eax
        b"\x48\x83\xec\x10"  # sub rsp, 16
        b"\xc7\x04\x24"
        + _little4(FAILED[0])
        + b"\x0f\xb7\x4b\x06"  # mov dword [rsp], 'S'; movzx ecx, word [rbx+6]
        b"\x89\x4c\x24\x04"  # mov [rsp+4], ecx
        b"\x89\x44\x24\x08"  # mov [rsp+8], eax
        b"\xb8"
        + _little4(numbers["write"])
        + b"\xbf"
        + _little4(channel)
        + b"\x0f\xb6\x4b\x04"  # write(channel
        b"\xc1\xe9\x03\x01\xcf"  # movzx ecx, byte [rbx+4]; shr ecx, 3; add edi, ecx (+ 1 if LATE
        b"\x48\x89\xe6"  # , rsp
        b"\xba" + _little4(12) + b"\x0f\x05"  # , 12)
        b"\xb8" + _little4(numbers["exit_group"]) + b"\xbf" + _little4(_EXIT_STATUS) + b"\x0f\x05"
    )
    advance = b"\x48\x83\xc3" + bytes([_ENTRY])  # next: add rbx, 56
    load = (
        b"\x8b\x03"  # loop: mov eax, [rbx]
        b"\x48\x8b\x7b\x08"  # mov rdi, [rbx+8]
        b"\x48\x8b\x73\x10"  # mov rsi, [rbx+16]
        b"\xf6\x43\x04" + bytes([_SCRATCH]) + b"\x74\x05"  # test byte [rbx+4], SCRATCH; jz +5
        b"\x48\x8d\x74\x24\xc0"  # lea rsi, [rsp-64]
        b"\xf6\x43\x04" + bytes([_RESULT]) + b"\x74\x03"  # test byte [rbx+4], RESULT; jz +3
        b"\x4c\x89\xe7"  # mov rdi, r12
        b"\x48\x8b\x53\x18"  # mov rdx, [rbx+24]
        b"\x4c\x8b\x53\x20"  # mov r10, [rbx+32]
        b"\x4c\x8b\x43\x28"  # mov r8, [rbx+40]
        b"\x4c\x8b\x4b\x30"  # mov r9, [rbx+48]
        b"\x0f\x05"  # syscall
        b"\x49\x89\xc4"  # mov r12, rax
        b"\x48\x85\xc0"  # test rax, rax
    )
    ignored = b"\xf6\x43\x04" + bytes([_IGNORE])  # test byte [rbx+4], IGNORE
    ignored += b"\x75" + bytes([256 - (len(advance) + 2 + len(ignored) + 2)])  # jnz next
    fork = b""
    if stays:
        fork = b"\x81\x3b" + _little4(numbers["clone"])  # cmp dword [rbx], clone
        fork += b"\x75\x04\x85\xc0"  # jne next; test eax, eax
        fork += b"\x7f" + bytes([len(advance) + 2 + len(ignored) + len(report)])  # jg init
    # js over "fork; add; jmp loop" to the test of IGNORE, which jumps back to "add" or falls into the report
    back = len(load) + 2 + len(fork) + len(advance) + 2
    walk = load + b"\x78" + bytes([len(fork) + len(advance) + 2]) + fork + advance
    walk += b"\xeb" + bytes([256 - back])
    start_size = 5
    size = start_size + len(walk) + len(ignored) + len(report)
    loop = init.init_x86_64(_BASE + begin + size, channel) if stays else b""
    table = _BASE + ((begin + size + len(loop) + 7) & ~7)
    return b"\xbb" + _little4(table) + walk + ignored + report + loop  # mov ebx, table


def _code_aarch64(begin: int, channel: int, stays: bool) -> bytes:
    """x19 walks the table, x20 has the last result. Nothing else lives across a call."""
    numbers = SYSCALLS["aarch64"]

    def movz(register: int, value: int) -> int:
        return 0x52800000 | value << 5 | register  # movz wN, #value

    def ldr(register: int, offset: int) -> int:
        return 0xF9400000 | (offset // 8) << 10 | 19 << 5 | register  # ldr xN, [x19, #offset]

    svc = 0xD4000001
    load = [
        0xB9400268,  # loop: ldr w8, [x19]
        ldr(0, 8),
        ldr(1, 16),
        0x79400A69,  # ldrh w9, [x19, #4]
        0x36000000 | 1 << 19 | 2 << 5 | 9,  # tbz w9, #1, +2 (SCRATCH)
        0xD10103E1,  # sub x1, sp, #64
        0x36000000 | 2 << 19 | 2 << 5 | 9,  # tbz w9, #2, +2 (RESULT)
        0xAA1403E0,  # mov x0, x20
        ldr(2, 24),
        ldr(3, 32),
        ldr(4, 40),
        ldr(5, 48),
        svc,
        0xAA0003F4,  # mov x20, x0
    ]
    advance = [0x91000000 | _ENTRY << 10 | 19 << 5 | 19]  # next: add x19, x19, #56
    report = [
        0x4B0003E0,  # neg w0, w0
        0xD10043FF,  # sub sp, sp, #16
        movz(9, FAILED[0]),
        0xB90003E9,  # str w9, [sp]
        0x79400E69,  # ldrh w9, [x19, #6]
        0xB90007E9,  # str w9, [sp, #4]
        0xB9000BE0,  # str w0, [sp, #8]
        movz(0, channel),
        0x79400A69,  # ldrh w9, [x19, #4]
        0x0B490C00,  # add w0, w0, w9, lsr #3 (+ 1 if LATE)
        0x910003E1,  # mov x1, sp
        movz(2, 12),
        movz(8, numbers["write"]),
        svc,
        movz(0, _EXIT_STATUS),
        movz(8, numbers["exit_group"]),
        svc,
    ]
    fork = []
    if stays:
        fork = [
            0x71000000 | numbers["clone"] << 10 | 8 << 5 | 31,  # cmp w8, clone
            0x54000001 | 2 << 5,  # b.ne advance
            0x35000000 | (3 + len(report)) << 5,  # cbnz w0, init
        ]
    # layout: load; tbz x0 -> fork; tbnz w9 IGNORE -> advance; b report; fork; advance; b loop; report; init
    at, more = len(load), len(fork)
    walk = [
        *load,
        0xB6F80000 | 3 << 5,  # tbz x0, #63, fork
        0x37000000 | (2 + more) << 5 | 9,  # tbnz w9, #0, advance (IGNORE)
        0x14000000 | (3 + more),  # b report
        *fork,
        *advance,
        0x14000000 | ((-(at + more + 4)) & 0x3FFFFFF),  # b loop
    ]
    size = 4 * (2 + len(walk) + len(report))
    loop = init.init_aarch64(_BASE + begin + size, channel) if stays else []
    table = _BASE + ((begin + size + 4 * len(loop) + 7) & ~7)
    start = [
        0x52800000 | (table & 0xFFFF) << 5 | 19,  # movz w19, #low
        0x72A00000 | (table >> 16) << 5 | 19,  # movk w19, #high, lsl #16
    ]
    return b"".join(word.to_bytes(4, "little") for word in [*start, *walk, *report, *loop])


_CODE = {"x86_64": _code_x86_64, "aarch64": _code_aarch64}
