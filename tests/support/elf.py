"""Tiny x86-64 programs, made here: one system call whose result is the exit status; and broken files."""

from __future__ import annotations

import struct
from pathlib import Path

_BASE = 0x400000
_HEADERS = 64 + 56
X86_64 = 62
AARCH64, S390 = 183, 22  # for "wrong architecture", take one that is not the host's


def _elf(code: bytes, machine: int = X86_64) -> bytes:
    size = _HEADERS + len(code)
    identity = b"\x7fELF" + bytes([2, 1 if machine != S390 else 2, 1]) + bytes(9)
    order = "<" if machine != S390 else ">"
    header = identity + struct.pack(
        order + "HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    segment = struct.pack(order + "IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + code


def syscall_program(number: int, *arguments: int, result: bool = False) -> bytes:
    """Makes the call with up to three arguments. Exits with its errno, or 0 when it succeeded; with
    `result`, the lowest byte of that."""
    move = (b"\xbf", b"\xbe", b"\xba")  # mov edi, esi, edx
    code = b"".join(opcode + struct.pack("<I", value) for opcode, value in zip(move, arguments, strict=False))
    code += b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"  # mov eax, number; syscall
    code += b"\x89\xc7"  # mov edi, eax
    if not result:
        code += b"\xf7\xdf"  # neg edi
        code += b"\x85\xc0\x78\x02\x31\xff"  # test eax, eax; js +2; xor edi, edi
    code += b"\xb8\x3c\x00\x00\x00\x0f\x05"  # exit(edi)
    return _elf(code)


def i386_syscall_program(number: int, *arguments: int) -> bytes:
    """As `syscall_program`, with up to two arguments and by the old way in, which counts calls otherwise."""
    move = (b"\xbb", b"\xb9")  # mov ebx, ecx
    code = b"".join(opcode + struct.pack("<I", value) for opcode, value in zip(move, arguments, strict=False))
    code += b"\xb8" + struct.pack("<I", number) + b"\xcd\x80"  # mov eax, number; int 0x80
    code += b"\x89\xc7\xf7\xdf\x85\xc0\x78\x02\x31\xff"  # mov edi, eax; neg edi; if eax >= 0: xor edi, edi
    return _elf(code + b"\xb8\x3c\x00\x00\x00\x0f\x05")  # exit(edi)


def foreign_program() -> bytes:
    """A well-formed program for a processor that no test machine has."""
    return _elf(b"\x00" * 16, S390)


def install(path: Path, content: bytes | str, mode: int = 0o755) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
