"""Device rules -> a BPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, the only form cgroup v2 has.

Pure: the bytes are a function of the rules. The kernel runs the program with a struct bpf_cgroup_dev_ctx
{access << 16 | type, major, minor} whenever a device is opened or its node made, and 0 denies. Rules are
tried from the last to the first, each deciding about those kinds of access that are still open: that is
what "a later rule overrides" means for a request to read *and* write. Device numbers have 12 and 20 bits.
"""

from __future__ import annotations

import struct

from pyrunc.errors import INVALID, PyruncError
from pyrunc.plan.devicerules import EVERY_ACCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan.devicerules import Rule

# linux/bpf.h and bpf_common.h: opcodes are class | size or operation | source
_LOAD_32 = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_MOVE = 0xB7  # BPF_ALU64 | BPF_MOV | BPF_K
_MOVE_REGISTER = 0xBF  # BPF_ALU64 | BPF_MOV | BPF_X
_OR_REGISTER = 0x4F  # BPF_ALU64 | BPF_OR | BPF_X
_AND = 0x57  # BPF_ALU64 | BPF_AND | BPF_K
_XOR = 0xA7  # BPF_ALU64 | BPF_XOR | BPF_K
_SHIFT_LEFT = 0x67  # BPF_ALU64 | BPF_LSH | BPF_K
_SHIFT_RIGHT = 0x77  # BPF_ALU64 | BPF_RSH | BPF_K
_SHIFT_RIGHT_SIGNED = 0xC7  # BPF_ALU64 | BPF_ARSH | BPF_K
_JUMP_NOT_EQUAL = 0x55  # BPF_JMP | BPF_JNE | BPF_K
_JUMP_IF_SET = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
_EXIT = 0x95  # BPF_JMP | BPF_EXIT

_RESULT, _CONTEXT, _TYPE, _ACCESS, _MAJOR, _MINOR, _BOTH, _SCRATCH = 0, 1, 2, 3, 4, 5, 6, 7  # registers
_TYPE_CHARACTER = 2  # BPF_DEVCG_DEV_CHAR
_LONGEST_JUMP = 32767
_MAJOR_BITS, _MINOR_BITS = 12, 20  # of a device number in the kernel


def _instruction(code: int, register: int = 0, *, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | register, offset, value)


def _return(allow: bool) -> list[bytes]:
    return [_instruction(_MOVE, _RESULT, value=int(allow)), _instruction(_EXIT)]


_PROLOGUE = (
    _instruction(_LOAD_32, _TYPE, source=_CONTEXT, offset=0),
    _instruction(_MOVE_REGISTER, _ACCESS, source=_TYPE),
    _instruction(_AND, _TYPE, value=0xFFFF),
    _instruction(_SHIFT_RIGHT, _ACCESS, value=16),
    _instruction(_LOAD_32, _MAJOR, source=_CONTEXT, offset=4),
    _instruction(_LOAD_32, _MINOR, source=_CONTEXT, offset=8),
    # both numbers in 32 bits, and these as signed ones, for so the operands of instructions are extended
    _instruction(_MOVE_REGISTER, _BOTH, source=_MAJOR),
    _instruction(_SHIFT_LEFT, _BOTH, value=_MINOR_BITS),
    _instruction(_OR_REGISTER, _BOTH, source=_MINOR),
    _instruction(_SHIFT_LEFT, _BOTH, value=32),
    _instruction(_SHIFT_RIGHT_SIGNED, _BOTH, value=32),
)


def assemble(allows_all: bool, rules: tuple[Rule, ...]) -> bytes:
    """The program for `devicerules.effective_rules`: a part for character devices, one for block devices."""
    characters = _assemble_part(allows_all, [rule for rule in rules if rule.type == "c"])
    blocks = _assemble_part(allows_all, [rule for rule in rules if rule.type == "b"])
    if len(characters) > _LONGEST_JUMP:
        raise PyruncError(INVALID, "invalid device rules", "/linux/resources/devices", "there are too many")
    choice = _instruction(_JUMP_NOT_EQUAL, _TYPE, offset=len(characters), value=_TYPE_CHARACTER)
    return b"".join((*_PROLOGUE, choice, *characters, *blocks))


def _assemble_part(allows_all: bool, rules: list[Rule]) -> list[bytes]:
    instructions: list[bytes] = []
    decided: dict[tuple[int | None, int | None], int] = {}
    for rule in reversed(rules):
        key = (rule.major, rule.minor)
        before = decided.get(key, 0)
        if not rule.access & ~before:  # later rules for the same devices leave nothing to decide
            continue
        decided[key] = before | rule.access
        instructions += _assemble_rule(rule)
        if key == (None, None) and rule.access == EVERY_ACCESS:
            return instructions  # what follows would never run, which the kernel refuses
    return instructions + _return(allows_all)


def _assemble_rule(rule: Rule) -> list[bytes]:
    """Falls through to the next rule if the device is another, or some access is still undecided."""
    if (rule.major or 0) >> _MAJOR_BITS or (rule.minor or 0) >> _MINOR_BITS:
        return []  # there is no such device
    if rule.access == EVERY_ACCESS:
        verdict = _return(rule.allow)
    elif rule.allow:
        verdict = [
            _instruction(_AND, _ACCESS, value=EVERY_ACCESS & ~rule.access),
            _instruction(_JUMP_NOT_EQUAL, _ACCESS, offset=2, value=0),
            *_return(True),
        ]
    else:
        verdict = [
            _instruction(_JUMP_IF_SET, _ACCESS, offset=1, value=rule.access),
            _instruction(_JUMP, offset=2),
            *_return(False),
        ]
    return _unless_device(rule, skips=len(verdict)) + verdict


def _unless_device(rule: Rule, *, skips: int) -> list[bytes]:
    """A jump over `skips` instructions for other devices than the rule's. It compares a changed copy: had the
    kernel's verifier seen the number itself compared, it would follow every rule below once for each number
    above, and the time to load a program would grow with the square of its rules: 1.2 s for 700 of them."""
    if rule.major is not None and rule.minor is not None:
        register, wanted = _BOTH, rule.major << _MINOR_BITS | rule.minor
    elif rule.major is not None:
        register, wanted = _MAJOR, rule.major
    elif rule.minor is not None:
        register, wanted = _MINOR, rule.minor
    else:
        return []
    if wanted >> 31:
        wanted -= 1 << 32
    return [
        _instruction(_MOVE_REGISTER, _SCRATCH, source=register),
        _instruction(_XOR, _SCRATCH, value=wanted),
        _instruction(_JUMP_NOT_EQUAL, _SCRATCH, offset=skips, value=0),
    ]
