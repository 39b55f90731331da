"""runc's way to a filter: libseccomp makes it, and a stub before it answers ENOSYS to unknown calls.

The judge of our own compiler. The stub is done here in Python, on the verdict.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import functools
import struct
import tempfile
from collections import Counter
from typing import Any

import pyseccomp

from support.bpf import Filter

ACTIONS = {
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_TRAP": 0x00030000,
}
# enum scmp_compare
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
ENOSYS = ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
KILL = 0
X32_BIT = 1 << 30
ARCHITECTURES = {
    f"SCMP_ARCH_{name}": token
    for name, token in vars(pyseccomp.Arch).items()
    if name.isupper() and name != "NATIVE"
}
_NATIVE = "SCMP_ARCH_X86_64"

_library = ctypes.CDLL(ctypes.util.find_library("seccomp"))
_library.seccomp_syscall_resolve_num_arch.argtypes = (ctypes.c_uint32, ctypes.c_int)
_library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p


def token_of(architecture: str) -> int:
    """AUDIT_ARCH_*, by which a filter sees it. x32 has that of x86_64."""
    return ARCHITECTURES[_NATIVE if architecture == "SCMP_ARCH_X32" else architecture]


def byte_order_of(architecture: str) -> str:
    return "<" if ARCHITECTURES[architecture] & 0x40000000 else ">"


def is_known(name: str) -> bool:
    return pyseccomp.resolve_syscall(ARCHITECTURES[_NATIVE], name) != -1


def number_of(architecture: str, name: str) -> int:
    """Negative: not a call of that architecture, or one that goes through socketcall or ipc."""
    return int(pyseccomp.resolve_syscall(ARCHITECTURES[architecture], name))


@functools.cache
def names_of(architecture: str) -> dict[str, int]:
    """Every call that libseccomp knows on it, the multiplexed ones by the numbers they also have."""
    found = {}
    for base in (0, 4000, 5000, 6000, X32_BIT, 0xF0000):
        for number in range(base, base + 1000):
            name = _library.seccomp_syscall_resolve_num_arch(ARCHITECTURES[architecture], number)
            if name:
                found[name.decode()] = number
    return found


def action_of(name: str, errno_ret: int | None) -> int:
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return ACTIONS[name] | (errno.EPERM if errno_ret is None else errno_ret)
    return ACTIONS[name]


class Reference:
    """`profile` as runc would load it, were `native` the architecture of this machine."""

    def __init__(self, profile: dict[str, Any], native: str = _NATIVE) -> None:
        self.default = action_of(profile["defaultAction"], profile.get("defaultErrnoRet"))
        self.has_stub = profile["defaultAction"] not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
        self.architectures = list(dict.fromkeys([native, *profile.get("architectures", ())]))
        rules = [action_of(rule["action"], rule.get("errnoRet")) for rule in profile["syscalls"]]
        self._actions = {self.default, KILL, *rules}
        self._newest: dict[str, int] = {}
        self.names = [name for rule in profile["syscalls"] for name in rule["names"]]
        made = pyseccomp.SyscallFilter(self.default)
        if native != _NATIVE:
            made.remove_arch(ARCHITECTURES[_NATIVE])
            made.add_arch(ARCHITECTURES[native])
        for name in self.architectures[1:]:
            made.add_arch(ARCHITECTURES[name])
        if len(self.names) > 32:  # as runc does
            made.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)
        for rule in profile["syscalls"]:
            self._add(made, rule)
        with tempfile.TemporaryFile() as file:
            made.export_bpf(file)
            file.seek(0)
            self.filter = Filter(file.read(), byte_order_of(native))

    def _add(self, made: pyseccomp.SyscallFilter, rule: dict[str, Any]) -> None:
        action = action_of(rule["action"], rule.get("errnoRet"))
        if action == self.default:
            return
        arguments = [
            pyseccomp.Arg(arg["index"], OPERATORS[arg["op"]], arg["value"], arg.get("valueTwo", 0))
            for arg in rule.get("args") or ()
        ]
        counts = Counter(arg["index"] for arg in rule.get("args") or ())
        for name in filter(is_known, rule["names"]):
            if counts and max(counts.values()) > 1:
                for argument in arguments:
                    made.add_rule(action, name, argument)
            else:
                made.add_rule(action, name, *arguments)

    def newest(self, architecture: str) -> int:
        """Of the calls that it names. Unlike runc we don't count what ARM keeps to itself, above 0xf0000."""
        if architecture not in self._newest:
            numbers = [number_of(architecture, name) for name in [*self.names, "no such call"]]
            is_arm = architecture == "SCMP_ARCH_ARM"
            self._newest[architecture] = max(each for each in numbers if not (is_arm and each >= 0xF0000))
        return self._newest[architecture]

    def verdict(self, architecture: str, number: int, arguments: tuple[int, ...] = ()) -> int:
        if self.has_stub and architecture in self.architectures:
            newest = self.newest(architecture)
            if number > newest > 0 or (number == 0 and newest > 0 and "S390" in architecture):
                return ENOSYS
        verdict = self.filter.verdict(token_of(architecture), number, arguments)
        if verdict not in self._actions and self.filter.byte_order != byte_order_of(_NATIVE):
            # made for a machine of the other byte order, libseccomp's second copies of a return are swapped
            (verdict,) = struct.unpack(">I", struct.pack("<I", verdict))
            assert verdict in self._actions
        return verdict
