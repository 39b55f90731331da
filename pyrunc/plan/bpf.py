"""Classic BPF, the machine of seccomp filters (struct sock_filter, linux/filter.h): an assembler, and the
tree of comparisons that leads from the number of a call to a verdict.

A jump of that machine only goes forward, by at most 255 instructions to either side of a test. So a program
is written from its end to its beginning: where a jump leads is then always known, and a target out of reach
gets a stepping stone (an unconditional jump, which reaches any distance, or a second copy of a return) right
behind the jump. No pass over the program is needed afterwards.

A label is the number of instructions from there to the end. Every writer returns the label of what it wrote.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Condition = tuple[int, int, bool, int, int]  # argument, comparison, is negated, value, mask
    Conditions = tuple[Condition, ...]  # all must hold
    Match = tuple[Conditions, int]  # the action of a call for which they hold
    Verdict = int | tuple[Match, ...]  # an action, or matches of which the first one decides
    Range = tuple[int, Verdict]  # from this number on, up to the next range

LOAD_WORD, AND, JUMP, RETURN = 0x20, 0x54, 0x05, 0x06
JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL = 0x15, 0x25, 0x35

NUMBER_OFFSET, TOKEN_OFFSET, ARGUMENTS_OFFSET = 0, 4, 16  # in struct seccomp_data
MAX_INSTRUCTIONS = 4096  # what the kernel takes (BPF_MAXINSNS)
WORD = 0xFFFFFFFF
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
        if not is_big_endian:
            return b"".join([i.to_bytes(8, "little") for i in reversed(self._code)])
        swapped = [
            (i & 0xFFFF) << 48 | (i >> 16 & 0xFF) << 40 | (i >> 24 & 0xFF) << 32 | i >> 32 for i in self._code
        ]
        return b"".join([i.to_bytes(8, "big") for i in reversed(swapped)])


def tree(program: Program, ranges: list[Range], default: int, is_big_endian: bool) -> int:
    """Looks up the number of the call among the ranges, by halving.

    A range with single numbers punched out of it is one leaf of the tree, and each such number one test.
    """

    def leaf(index: int) -> int:
        verdict = ranges[index][1]
        if isinstance(verdict, int):
            return program.give(verdict)
        return _first_match(program, verdict, default, is_big_endian)

    def look_up(low: int, high: int) -> int:
        if high - low == 1:
            first, last = leaves[low]
            label = leaf(first)
            for index in range(first + 1, last, 2):
                label = program.test(JUMP_EQUAL, ranges[index][0], leaf(index), label)
            return label
        middle = (low + high) // 2
        right = look_up(middle, high)
        return program.test(JUMP_GREATER_EQUAL, ranges[leaves[middle][0]][0], right, look_up(low, middle))

    leaves = _leaves(ranges)
    entry = look_up(0, len(leaves))
    return program.load(NUMBER_OFFSET) if len(ranges) > 1 else entry


def _leaves(ranges: list[Range]) -> list[tuple[int, int]]:
    """First and last index of the ranges that make a leaf: A, or A x A, or A x A y A (x, y: one number each).
    With more of them the program is hardly shorter, and finding the last one takes longer."""
    leaves = []
    first, end = 0, len(ranges)
    while first < end:
        last = first
        while (
            last - first < 4
            and last + 2 < end
            and ranges[last + 2][0] == ranges[last + 1][0] + 1
            and ranges[last + 2][1] == ranges[first][1]
        ):
            last += 2
        leaves.append((first, last))
        first = last + 1
    return leaves


def _first_match(program: Program, verdict: tuple[Match, ...], default: int, is_big_endian: bool) -> int:
    no = program.give(default)
    for conditions, action in reversed(verdict):
        yes = program.give(action)
        for condition in reversed(conditions):
            yes = _test(program, condition, yes, no, is_big_endian)
        no = yes
    return no


def _test(program: Program, condition: Condition, yes: int, no: int, is_big_endian: bool) -> int:
    """To `yes` if the condition holds, else to `no`. A word of which no bit counts is not looked at; if that
    goes for both words it always holds."""
    index, comparison, is_negated, value, mask = condition
    if is_negated:
        yes, no = no, yes
    low, high = ARGUMENTS_OFFSET + 8 * index, ARGUMENTS_OFFSET + 8 * index + 4
    if is_big_endian:
        low, high = high, low
    low_mask, high_mask = mask & WORD, mask >> 32
    label = yes
    if low_mask:
        label = program.test(comparison, value & WORD, yes, no)
        if low_mask != WORD:
            program.keep_bits(low_mask)
        label = program.load(low)
    if high_mask:
        label = program.test(JUMP_EQUAL, value >> 32, label, no)
        if comparison != JUMP_EQUAL:
            label = program.test(JUMP_GREATER, value >> 32, yes, label)
        if high_mask != WORD:
            program.keep_bits(high_mask)
        label = program.load(high)
    return label
