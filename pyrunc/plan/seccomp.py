"""`linux.seccomp` of config.json -> a classic BPF program and the flags of seccomp(2). Pure.

Ours and not libseccomp's, since that costs 16-25 ms for Docker's profile: Docker's 350 names on three
architectures compile here in half a millisecond. The verdicts are libseccomp's and runc's, by these rules:

- A system call that no rule names gets the default action. Rules with just that action say nothing new and
  are skipped. Names that an architecture does not have are skipped on it.
- Of the rules without conditions the first one decides, and goes before any rule with conditions. Of those
  with conditions the first that matches decides; libseccomp has an order of its own there, which can differ
  only if two rules with different actions match the same call.
- Conditions of a rule must all hold; but if two of them are about the same argument, each is a rule of its
  own (any one is enough). That is runc's reading.
- Arguments are 64 bits wide on a 64-bit ABI. On a 32-bit ABI (x32 and n32 among them) the upper half of
  argument and value is ignored. MASKED_EQ ignores bits of `valueTwo` outside the mask.
- The native architecture is always there. A call of one that is not listed kills the thread, and so does a
  call with the x32 bit, unless x32 is listed; number -1 isn't one (a tracer made it: skip this call).
- Where sockets and System V IPC go through socketcall(2) and ipc(2), a rule for "socket" is also one for
  socketcall(SYS_SOCKET). The call's arguments are behind a pointer there, out of a filter's sight: as with
  libseccomp a condition on argument 0 is lost, and the others see the arguments of socketcall itself.
- runc's ENOSYS rule: numbers above the newest call that the profile names on that architecture are newer
  than the profile. They are answered with ENOSYS, so that a libc falls back to what it did before, unless
  the default action lets calls through (ALLOW, LOG, TRACE). Number 0 on s390, by which the kernel makes calls
  with large numbers, likewise. Unlike runc's, our rule works on ARM too: its private calls (above 0xf0000)
  don't count as new.

For each architecture the numbers become ranges of equal verdict, and those a balanced tree of comparisons.
"""

from __future__ import annotations

from errno import ENOSYS, EPERM

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.plan.bpf import (
    JUMP_EQUAL,
    JUMP_GREATER,
    JUMP_GREATER_EQUAL,
    MAX_INSTRUCTIONS,
    TOKEN_OFFSET,
    WORD,
    Program,
    tree,
)
from pyrunc.plan.syscalls import ALIASES, TABLES
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.oci.config import Seccomp, SeccompArg, SeccompSyscall
    from pyrunc.plan.bpf import Condition, Conditions, Match, Range, Verdict

    Rule = tuple[tuple[str, ...], int, tuple[Conditions, ...]]  # names, action, any of these (none: always)

_KILL_THREAD, _TRAP, _ERRNO, _NOTIFY, _TRACE = 0, 0x00030000, 0x00050000, 0x7FC00000, 0x7FF00000
_LOG, _ALLOW, _KILL_PROCESS = 0x7FFC0000, 0x7FFF0000, 0x80000000
_ACTIONS = {
    "SCMP_ACT_ALLOW": _ALLOW,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_KILL": _KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": _KILL_PROCESS,
    "SCMP_ACT_KILL_THREAD": _KILL_THREAD,
    "SCMP_ACT_LOG": _LOG,
    "SCMP_ACT_NOTIFY": _NOTIFY,
    "SCMP_ACT_TRACE": _TRACE,
    "SCMP_ACT_TRAP": _TRAP,
}
_LETS_THROUGH = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
_TAKES_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")

_OPERATORS = {
    "SCMP_CMP_EQ": (JUMP_EQUAL, False),
    "SCMP_CMP_GE": (JUMP_GREATER_EQUAL, False),
    "SCMP_CMP_GT": (JUMP_GREATER, False),
    "SCMP_CMP_LE": (JUMP_GREATER, True),
    "SCMP_CMP_LT": (JUMP_GREATER_EQUAL, True),
    "SCMP_CMP_MASKED_EQ": (JUMP_EQUAL, False),
    "SCMP_CMP_NE": (JUMP_EQUAL, True),
}

_LOG_FLAG, _SPEC_ALLOW_FLAG, _NEW_LISTENER_FLAG, _WAIT_KILLABLE_FLAG = 1 << 1, 1 << 2, 1 << 3, 1 << 5
# TSYNC is no bit: the filter is loaded by a process of one thread
_FLAGS = {
    "SECCOMP_FILTER_FLAG_LOG": _LOG_FLAG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": _SPEC_ALLOW_FLAG,
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": _WAIT_KILLABLE_FLAG,
}

# name -> (AUDIT_ARCH_*: ELF machine | _64 | _LE, are arguments 64 bits wide, table in plan.syscalls)
_64, _LE, _N32 = 0x80000000, 0x40000000, 0x20000000
_ARCHITECTURES = {
    "SCMP_ARCH_AARCH64": (183 | _64 | _LE, True, "aarch64"),
    "SCMP_ARCH_ARM": (40 | _LE, False, "arm"),
    "SCMP_ARCH_LOONGARCH64": (258 | _64 | _LE, True, "loongarch64"),
    "SCMP_ARCH_M68K": (4, False, "m68k"),
    "SCMP_ARCH_MIPS": (8, False, "mips"),
    "SCMP_ARCH_MIPS64": (8 | _64, True, "mips64"),
    "SCMP_ARCH_MIPS64N32": (8 | _64 | _N32, False, "mips64n32"),
    "SCMP_ARCH_MIPSEL": (8 | _LE, False, "mips"),
    "SCMP_ARCH_MIPSEL64": (8 | _64 | _LE, True, "mips64"),
    "SCMP_ARCH_MIPSEL64N32": (8 | _64 | _LE | _N32, False, "mips64n32"),
    "SCMP_ARCH_PARISC": (15, False, "parisc"),
    "SCMP_ARCH_PARISC64": (15 | _64, True, "parisc64"),
    "SCMP_ARCH_PPC": (20, False, "ppc"),
    "SCMP_ARCH_PPC64": (21 | _64, True, "ppc64"),
    "SCMP_ARCH_PPC64LE": (21 | _64 | _LE, True, "ppc64"),
    "SCMP_ARCH_RISCV64": (243 | _64 | _LE, True, "riscv64"),
    "SCMP_ARCH_S390": (22, False, "s390"),
    "SCMP_ARCH_S390X": (22 | _64, True, "s390x"),
    "SCMP_ARCH_SH": (42 | _LE, False, "sh"),
    "SCMP_ARCH_SHEB": (42, False, "sh"),
    "SCMP_ARCH_X32": (62 | _64 | _LE, False, "x32"),  # x86_64's, told apart by a bit of the call's number
    "SCMP_ARCH_X86": (3 | _LE, False, "x86"),
    "SCMP_ARCH_X86_64": (62 | _64 | _LE, True, "x86_64"),
}
_X32_BIT = 0x40000000
_ARM_PRIVATE = 0xF0000

# For the features document: the names that we know.
ACTIONS, OPERATORS = tuple(_ACTIONS), tuple(_OPERATORS)
ARCHITECTURES, FLAGS = tuple(_ARCHITECTURES), tuple(_FLAGS)

# uname -m -> native architecture. The kernel calls both byte orders of MIPS and SH the same: there "el" and
# "eb" are appended by who knows.
_NATIVE = {
    "aarch64": "SCMP_ARCH_AARCH64",
    "armv5tel": "SCMP_ARCH_ARM",
    "armv6l": "SCMP_ARCH_ARM",
    "armv7l": "SCMP_ARCH_ARM",
    "armv8l": "SCMP_ARCH_ARM",
    "i386": "SCMP_ARCH_X86",
    "i486": "SCMP_ARCH_X86",
    "i586": "SCMP_ARCH_X86",
    "i686": "SCMP_ARCH_X86",
    "loongarch64": "SCMP_ARCH_LOONGARCH64",
    "m68k": "SCMP_ARCH_M68K",
    "mips": "SCMP_ARCH_MIPS",
    "mips64": "SCMP_ARCH_MIPS64",
    "mips64el": "SCMP_ARCH_MIPSEL64",
    "mipsel": "SCMP_ARCH_MIPSEL",
    "parisc": "SCMP_ARCH_PARISC",
    "parisc64": "SCMP_ARCH_PARISC64",
    "ppc": "SCMP_ARCH_PPC",
    "ppc64": "SCMP_ARCH_PPC64",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "riscv64": "SCMP_ARCH_RISCV64",
    "s390": "SCMP_ARCH_S390",
    "s390x": "SCMP_ARCH_S390X",
    "sh4": "SCMP_ARCH_SH",
    "sh4eb": "SCMP_ARCH_SHEB",
    "x86_64": "SCMP_ARCH_X86_64",
}

# first argument of socketcall(2) (linux/net.h) and of ipc(2) (linux/ipc.h)
_MULTIPLEXED = {
    "socketcall": {
        "socket": 1, "bind": 2, "connect": 3, "listen": 4, "accept": 5, "getsockname": 6, "getpeername": 7,
        "socketpair": 8, "send": 9, "recv": 10, "sendto": 11, "recvfrom": 12, "shutdown": 13,
        "setsockopt": 14, "getsockopt": 15, "sendmsg": 16, "recvmsg": 17, "accept4": 18, "recvmmsg": 19,
        "sendmmsg": 20,
    },
    "ipc": {
        "semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12, "msgget": 13,
        "msgctl": 14, "shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24,
    },
}  # fmt: skip

_ALL_BITS = 0xFFFFFFFFFFFFFFFF


class SeccompProgram(Record):
    """What seccomp(SECCOMP_SET_MODE_FILTER) is given. `has_listener`: it returns a descriptor (NOTIFY)."""

    instructions: bytes
    flags: int
    has_listener: bool


def compile_seccomp(seccomp: Seccomp, machine: str) -> SeccompProgram:
    """`machine` as uname(2) has it. Raises INVALID with the pointer of what the profile has wrong."""
    native = _NATIVE.get(machine)
    if native is None:
        raise PyruncError(UNSUPPORTED, "seccomp is not supported on this machine", machine)
    listed = _listed(seccomp, native)
    default = _action(seccomp.default_action, seccomp.default_errno_ret, seccomp.origin, "default")
    rules = [_rule(call) for call in seccomp.syscalls]
    has_listener = _has_listener(seccomp)
    flags = _flags(seccomp, has_listener)

    unknown = default if seccomp.default_action in _LETS_THROUGH else _ERRNO | ENOSYS
    unconditional = _unconditional(rules, default)
    verdicts = {
        is_wide: _verdicts(rules, unconditional, default, is_wide)
        for is_wide in {_ARCHITECTURES[name][1] for name in listed}
    }
    tokens: dict[int, list[str]] = {}
    for name in listed:
        tokens.setdefault(_ARCHITECTURES[name][0], []).append(name)
    is_big_endian = not _ARCHITECTURES[native][0] & _LE
    program = Program()
    no = program.give(_KILL_THREAD)
    for token, names in reversed(tokens.items()):  # so that the native one comes first
        ranges = _ranges(names, verdicts, default, unknown)
        yes = tree(program, ranges, default, is_big_endian)
        no = program.test(JUMP_EQUAL, token, yes, no)
    program.load(TOKEN_OFFSET)
    if len(program) > MAX_INSTRUCTIONS:
        why = f"it needs {len(program)} instructions, and the kernel takes {MAX_INSTRUCTIONS}"
        raise PyruncError(INVALID, "seccomp profile is too long", seccomp.origin, why)
    return SeccompProgram(
        instructions=program.assemble(is_big_endian), flags=flags, has_listener=has_listener
    )


# --- reading the profile --------------------------------------------------------------------------


def _wrong(where: str, why: str) -> PyruncError:
    return PyruncError(INVALID, "seccomp profile is not valid", where, why)


def _listed(seccomp: Seccomp, native: str) -> list[str]:
    """The native architecture and those of the profile, each once."""
    byte_order = _ARCHITECTURES[native][0] & _LE
    for index, name in enumerate(seccomp.architectures):
        where = f"{seccomp.origin}/architectures/{index}"
        if name not in _ARCHITECTURES:
            raise _wrong(where, f"{name} is not an architecture of seccomp")
        if _ARCHITECTURES[name][0] & _LE != byte_order:
            raise _wrong(where, f"{name} has not the byte order of {native}, which we run on")
    return list(dict.fromkeys((native, *seccomp.architectures)))


def _action(name: str, errno_ret: int | None, origin: str, field: str = "") -> int:
    """The 32 bits that a filter returns. `field` is "default" where the fields are "defaultAction"..."""
    action = _ACTIONS.get(name)
    if action is None:
        raise _wrong(f"{origin}/{field}{'A' if field else 'a'}ction", f"{name} is not an action of seccomp")
    if errno_ret is None:
        return action | EPERM if name in _TAKES_ERRNO else action
    where = f"{origin}/{field}{'E' if field else 'e'}rrnoRet"
    if name not in _TAKES_ERRNO:
        raise _wrong(where, f"{name} has no errno to return")
    if not 0 <= errno_ret <= 0xFFFF:
        raise _wrong(where, f"{errno_ret} does not fit 16 bits")
    return action | errno_ret


def _has_listener(seccomp: Seccomp) -> bool:
    """Does a rule ask an agent (NOTIFY)? Such a rule for `write` would ask about our own writes while the
    agent has no descriptor to answer by yet; runc refuses it, and so do profiles written for runc."""
    if seccomp.listener_metadata and not seccomp.listener_path:
        raise _wrong(f"{seccomp.origin}/listenerMetadata", "is given without listenerPath")
    if seccomp.default_action == "SCMP_ACT_NOTIFY":
        raise _wrong(f"{seccomp.origin}/defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action")
    found = False
    for call in seccomp.syscalls:
        if call.action == "SCMP_ACT_NOTIFY":
            if not seccomp.listener_path:
                raise _wrong(f"{call.origin}/action", "SCMP_ACT_NOTIFY is used without listenerPath")
            if "write" in call.names:
                raise _wrong(f"{call.origin}/names", "SCMP_ACT_NOTIFY cannot be used for the write syscall")
            found = True
    return found


def _flags(seccomp: Seccomp, has_listener: bool) -> int:
    """Absent is not empty: then runc asks for SPEC_ALLOW. WAIT_KILLABLE_RECV says how to wait for an agent,
    and the kernel refuses it where there is none."""
    if seccomp.flags is None:
        return _SPEC_ALLOW_FLAG | (_NEW_LISTENER_FLAG if has_listener else 0)
    flags = _NEW_LISTENER_FLAG if has_listener else 0
    for index, name in enumerate(seccomp.flags):
        if name not in _FLAGS:
            raise _wrong(f"{seccomp.origin}/flags/{index}", f"{name} is not a flag of seccomp that we know")
        flags |= _FLAGS[name]
    return flags if has_listener else flags & ~_WAIT_KILLABLE_FLAG


def _rule(call: SeccompSyscall) -> Rule:
    if "" in call.names:
        raise _wrong(f"{call.origin}/names", "an empty string is not a system call")
    action = _action(call.action, call.errno_ret, call.origin)
    if not call.args:
        return call.names, action, ()
    conditions = tuple([_condition(arg) for arg in call.args])
    if len({arg.index for arg in call.args}) < len(call.args):
        return call.names, action, tuple([(condition,) for condition in conditions])
    return call.names, action, (conditions,)


def _condition(arg: SeccompArg) -> Condition:
    if arg.op not in _OPERATORS:
        raise _wrong(f"{arg.origin}/op", f"{arg.op} is not an operator of seccomp")
    if not 0 <= arg.index <= 5:
        raise _wrong(f"{arg.origin}/index", "a system call has arguments 0 to 5")
    for field, value in (("value", arg.value), ("valueTwo", arg.value_two)):
        if not 0 <= value <= _ALL_BITS:
            raise _wrong(f"{arg.origin}/{field}", f"{value} does not fit 64 bits")
    comparison, is_negated = _OPERATORS[arg.op]
    if arg.op == "SCMP_CMP_MASKED_EQ":
        return arg.index, comparison, is_negated, arg.value_two & arg.value, arg.value
    return arg.index, comparison, is_negated, arg.value, _ALL_BITS


# --- from rules to verdicts -----------------------------------------------------------------------


def _unconditional(rules: list[Rule], default: int) -> dict[str, int]:
    """The first rule for a name decides."""
    actions: dict[str, int] = {}
    for names, action, alternatives in rules:
        if action != default and not alternatives:
            for name in names:
                if name not in actions:
                    actions[name] = action
    return actions


def _verdicts(
    rules: list[Rule], unconditional: dict[str, int], default: int, is_wide: bool
) -> dict[str, Verdict]:
    """Of every name in the profile: its verdict on an architecture with (or without) 64-bit arguments."""
    verdicts: dict[str, Verdict] = {}
    multiplexed = [(entry, calls) for entry, calls in _MULTIPLEXED.items() if entry not in unconditional]
    matches: dict[str, list[Match]] = {}
    for names, action, alternatives in rules:
        verdicts.update(dict.fromkeys(names, default))
        if action == default or not (alternatives or multiplexed):
            continue
        fitted = [_fit(conditions, is_wide) for conditions in alternatives]
        for name in names:
            if fitted:
                matches.setdefault(name, []).extend([(conditions, action) for conditions in fitted])
            for entry, calls in multiplexed:
                if name in calls:
                    which = (0, JUMP_EQUAL, False, calls[name], _ALL_BITS if is_wide else WORD)
                    for conditions in fitted or ((),):
                        others = [condition for condition in conditions if condition[0] != 0]
                        matches.setdefault(entry, []).append(((which, *others), action))
    for name, found in matches.items():
        verdicts[name] = tuple(found)
    verdicts.update(unconditional)
    return verdicts


def _fit(conditions: Conditions, is_wide: bool) -> Conditions:
    """As an architecture sees them: the mask tells which bits count."""
    seen = _ALL_BITS if is_wide else WORD
    return tuple(
        [
            (index, comparison, is_negated, value & seen, mask & seen)
            for index, comparison, is_negated, value, mask in conditions
        ]
    )


def _ranges(
    names: list[str], verdicts: dict[bool, dict[str, Verdict]], default: int, unknown: int
) -> list[Range]:
    """All call numbers of the architectures of one token."""
    ranges: list[Range] = [(0, _KILL_THREAD)]
    for name in names:
        if name != "SCMP_ARCH_X32":
            _, is_wide, table = _ARCHITECTURES[name]
            ranges = _ranges_of(table, verdicts[is_wide], default, unknown)
    if _ARCHITECTURES[names[0]][0] != _ARCHITECTURES["SCMP_ARCH_X32"][0]:
        return ranges
    if "SCMP_ARCH_X32" not in names:
        return [*ranges, (_X32_BIT, _KILL_THREAD), (WORD, default)]
    return ranges + _ranges_of("x32", verdicts[False], default, unknown)


def _ranges_of(table: str, verdicts: dict[str, Verdict], default: int, unknown: int) -> list[Range]:
    for alias, name in ALIASES.get(table, {}).items():
        if alias in verdicts:
            verdicts = {name: verdicts[alias], **verdicts}
    runs = TABLES[table]
    if table in ("s390", "s390x") and verdicts and unknown != default:
        runs, verdicts = ((0, "setup"), *runs), {**verdicts, "setup": unknown}
    if table != "arm":
        return _walk(runs, _X32_BIT if table == "x32" else 0, verdicts, default, unknown)
    public = tuple([run for run in runs if run[0] < _ARM_PRIVATE])
    ranges = _walk(public, 0, verdicts, default, unknown)
    return ranges + _walk(runs[len(public) :], _ARM_PRIVATE, verdicts, default, default)


def _walk(
    runs: tuple[tuple[int, str], ...], first: int, verdicts: dict[str, Verdict], default: int, unknown: int
) -> list[Range]:
    """From the number `first` to the end: what each call gets, and `unknown` after the newest one named."""
    ranges: list[Range] = []
    current: Verdict | None = None
    newest = -1
    for start, names in runs:
        if start != first and current != default:
            ranges.append((first, default))
            current = default
        for first, verdict in enumerate(map(verdicts.get, names.split()), start):
            if verdict is None:
                verdict = default
            else:
                newest = first
            if verdict != current:
                ranges.append((first, verdict))
                current = verdict
        first += 1
    if newest >= 0:
        if ranges[-1] == (newest + 1, default):
            ranges.pop()
        if ranges[-1][1] != unknown:
            ranges.append((newest + 1, unknown))
    return ranges
