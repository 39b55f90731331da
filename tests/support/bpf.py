"""A machine for classic BPF as seccomp(2) uses it, to ask a filter for verdicts without loading it.

As strict as the kernel's checker on what it meets: only known instructions, aligned words inside struct
seccomp_data, no jump past the end.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

DATA_SIZE = 64
_TESTS = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: bool(a & k),
}


class Filter:
    def __init__(self, instructions: bytes, byte_order: str = "<") -> None:
        self.code = list(struct.iter_unpack(f"{byte_order}HBBI", instructions))
        self.byte_order = byte_order

    def verdict(self, token: int, number: int, arguments: Sequence[int] = ()) -> int:
        """What the filter returns for a call of the architecture `token` (AUDIT_ARCH_*)."""
        arguments = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
        data = struct.pack(f"{self.byte_order}IIQ6Q", number, token, 0x7F0000001000, *arguments)
        at = accumulator = 0
        while True:
            code, true, false, operand = self.code[at]
            at += 1
            if code == 0x20:
                assert operand % 4 == 0
                assert operand < DATA_SIZE
                (accumulator,) = struct.unpack_from(f"{self.byte_order}I", data, operand)
            elif code == 0x54:
                accumulator &= operand
            elif code == 0x05:
                at += operand
            elif code == 0x06:
                return int(operand)
            else:
                at += true if _TESTS[code](accumulator, operand) else false
