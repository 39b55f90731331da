"""Device rules -> a BPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, the only form cgroup v2 has.

Pure: the bytes are a function of the rules. The kernel runs the program with a struct bpf_cgroup_dev_ctx
{access << 16 | type, major, minor} whenever a device is opened or its node made, and 0 denies. Rules are
tried from the last to the first, each deciding about those kinds of access that are still open: that is
what "a later rule overrides" means for a request to read *and* write.
"""

from __future__ import annotations

import struct

from pyrunc.plan.devicerules import EVERY_ACCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan.devicerules import Rule

# linux/bpf.h and bpf_common.h: opcodes are class | size or operation | source
_LOAD_32 = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_MOVE = 0xB7  # BPF_ALU64 | BPF_MOV | BPF_K
_MOVE_REGISTER = 0xBF  # BPF_ALU64 | BPF_MOV | BPF_X
_AND = 0x57  # BPF_ALU64 | BPF_AND | BPF_K
_SHIFT_RIGHT = 0x77  # BPF_ALU64 | BPF_RSH | BPF_K
_JUMP_NOT_EQUAL = 0x55  # BPF_JMP | BPF_JNE | BPF_K
_JUMP_IF_SET = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
_EXIT = 0x95  # BPF_JMP | BPF_EXIT

_RESULT, _CONTEXT, _TYPE, _ACCESS, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5  # registers
_TYPE_NUMBERS = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*


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
)


def assemble(allows_all: bool, rules: tuple[Rule, ...]) -> bytes:
    """The program for `devicerules.effective_rules`."""
    instructions = list(_PROLOGUE)
    decided: dict[tuple[str, int | None, int | None], int] = {}
    for rule in reversed(rules):
        key = (rule.type, rule.major, rule.minor)
        before = decided.get(key, 0)
        if rule.access & ~before:  # else later rules of the same devices leave nothing to decide
            decided[key] = before | rule.access
            instructions += _assemble_rule(rule)
    instructions += _return(allows_all)
    return b"".join(instructions)


def _assemble_rule(rule: Rule) -> list[bytes]:
    """Falls through to the next rule if the device is another, or some access is still undecided."""
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
    block: list[bytes] = verdict
    for register, wanted in (
        (_MINOR, rule.minor),
        (_MAJOR, rule.major),
        (_TYPE, _TYPE_NUMBERS[rule.type]),
    ):
        if wanted is not None:
            jump = _instruction(_JUMP_NOT_EQUAL, register, offset=len(block), value=wanted)
            block = [jump, *block]
    return block
