"""An assembler for classic BPF, the machine of seccomp filters (struct sock_filter, linux/filter.h).

A jump of that machine only goes forward, by at most 255 instructions to either side of a test. So a program
is written from its end to its beginning: where a jump leads is then always known, and a target out of reach
gets a stepping stone (an unconditional jump, which reaches any distance, or a second copy of a return) right
behind the jump. No pass over the program is needed afterwards.

A label is the number of instructions from there to the end. Every writer returns the label of what it wrote.
"""

from __future__ import annotations

from struct import pack

LOAD_WORD, AND, JUMP, RETURN = 0x20, 0x54, 0x05, 0x06
JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL = 0x15, 0x25, 0x35

MAX_INSTRUCTIONS = 4096  # what the kernel takes (BPF_MAXINSNS)
_REACH = 255


class Program:
    __slots__ = ("_code", "_returns")

    def __init__(self) -> None:
        self._code: list[int] = []  # last instruction first; code, jt, jf, k from the low bits up
        self._returns: dict[int, int] = {}

    def load(self, offset: int) -> int:
        """A = the 32-bit word at `offset` of struct seccomp_data, and on with what was written before."""
        self._code.append(LOAD_WORD | offset << 32)
        return len(self._code)

    def keep_bits(self, mask: int) -> int:
        """A &= `mask`, and on with what was written before."""
        self._code.append(AND | mask << 32)
        return len(self._code)

    def give(self, value: int) -> int:
        """Return `value`: the nearest such instruction if it is in reach of the next test, else a new one."""
        label = self._returns.get(value, 0)
        if not label or len(self._code) - label > _REACH:
            self._code.append(RETURN | value << 32)
            label = self._returns[value] = len(self._code)
        return label

    def test(self, how: int, operand: int, true: int, false: int) -> int:
        """Compare A with `operand`: to the label `true` or to the label `false`."""
        code = self._code
        if len(code) - true >= _REACH:  # one less than it could, in case `false` needs a stone too
            code.append(JUMP | len(code) - true << 32)
            true = len(code)
        if len(code) - false > _REACH:
            code.append(JUMP | len(code) - false << 32)
            false = len(code)
        here = len(code)
        code.append(how | here - true << 16 | here - false << 24 | operand << 32)
        return here + 1

    def __len__(self) -> int:
        return len(self._code)

    def assemble(self, is_big_endian: bool) -> bytes:
        """The array of struct sock_filter, in the byte order of the machine that it is for."""
        code = self._code[::-1]
        if not is_big_endian:
            return pack(f"<{len(code)}Q", *code)
        return b"".join(pack(">HBBI", i & 0xFFFF, i >> 16 & 0xFF, i >> 24 & 0xFF, i >> 32) for i in code)
