"""plan.seccomp against libseccomp, used as runc uses it: the same verdict for the same call.

What is left out, because libseccomp cannot be the judge there: rules of one call with different actions and
conditions that can hold at once (it has an order of its own); order comparisons in rules that are tried one
after the other (it merges 64-bit ones wrongly: its "at most 1 or at least 2**63" lets 2**31 match).
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import libseccomp, seccomp_profiles
from support.bpf import Filter

from pyrunc.oci.config import Seccomp, SeccompArg, SeccompSyscall
from pyrunc.plan.seccomp import compile_seccomp

MACHINES = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_MIPS64": "mips64",
    "SCMP_ARCH_MIPSEL64": "mips64el",
    "SCMP_ARCH_PARISC64": "parisc64",
    "SCMP_ARCH_PPC64": "ppc64",
    "SCMP_ARCH_PPC64LE": "ppc64le",
    "SCMP_ARCH_RISCV64": "riscv64",
    "SCMP_ARCH_S390X": "s390x",
}
COMPANIONS = {
    "SCMP_ARCH_X86_64": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "SCMP_ARCH_AARCH64": ["SCMP_ARCH_ARM"],
    "SCMP_ARCH_MIPS64": ["SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64N32"],
    "SCMP_ARCH_PARISC64": ["SCMP_ARCH_PARISC"],
    "SCMP_ARCH_PPC64": ["SCMP_ARCH_PPC"],
    "SCMP_ARCH_S390X": ["SCMP_ARCH_S390"],
}
FIRST = {"X32": libseccomp.X32_BIT, "MIPS": 4000, "MIPSEL": 4000}
FIRST |= {"MIPS64": 5000, "MIPSEL64": 5000, "MIPS64N32": 6000, "MIPSEL64N32": 6000}
VALUES = [0, 1, 2, 5, 8, 9, 16, 22, 0x20000, 0x20008, 0x10000000, 0x7E020000, 0x80000000, 0xFFFFFFFF]
VALUES += [1 << 32, (1 << 32) + 1, 1 << 63, (1 << 64) - 1]
WITH_CONDITIONS = ("clone", "personality", "socket", "socketcall", "ipc")


def parse(profile: dict[str, Any]) -> Seccomp:
    return Seccomp(
        default_action=profile["defaultAction"],
        default_errno_ret=profile.get("defaultErrnoRet"),
        architectures=tuple(profile.get("architectures", ())),
        syscalls=tuple(
            SeccompSyscall(
                names=tuple(rule["names"]),
                action=rule["action"],
                errno_ret=rule.get("errnoRet"),
                args=tuple(
                    SeccompArg(
                        index=arg["index"], op=arg["op"], value=arg["value"], value_two=arg.get("valueTwo", 0)
                    )
                    for arg in rule.get("args") or ()
                ),
            )
            for rule in profile["syscalls"]
        ),
    )


def both(profile: dict[str, Any], native: str) -> tuple[Filter, libseccomp.Reference]:
    program = compile_seccomp(parse(profile), MACHINES[native])
    byte_order = libseccomp.byte_order_of(native)
    return Filter(program.instructions, byte_order), libseccomp.Reference(profile, native)


def assert_agree(ours: Filter, reference: libseccomp.Reference, calls: list[Any]) -> None:
    for architecture, number, arguments in calls:
        token = libseccomp.token_of(architecture)
        verdicts = ours.verdict(token, number, arguments), reference.verdict(architecture, number, arguments)
        assert verdicts[0] == verdicts[1], (architecture, number, arguments, [hex(each) for each in verdicts])


def calls_of(architecture: str, seed: str) -> list[tuple[str, int, tuple[int, ...]]]:
    """Every number there is and some more, and many arguments for calls that profiles look into."""
    chosen = random.Random(seed)
    first = FIRST.get(architecture.removeprefix("SCMP_ARCH_"), 0)
    numbers = libseccomp.names_of(architecture)
    found = [(architecture, number, ()) for number in range(first, first + 560)]
    for name in WITH_CONDITIONS:
        for _ in range(40 if name in numbers else 0):
            arguments = tuple(chosen.choice(VALUES) for _ in range(6))
            found.append((architecture, numbers[name], arguments))
    return found


@pytest.mark.parametrize("native", MACHINES)
@pytest.mark.parametrize(("engine", "capability"), [("docker", None), ("podman", "CAP_AUDIT_WRITE")])
def test_the_profile_of_an_engine(engine, capability, native):
    profile = seccomp_profiles.load(engine, native, {capability} if capability else ())
    ours, reference = both(profile, native)

    architectures = [*reference.architectures, "SCMP_ARCH_RISCV64"]
    for architecture in architectures:
        assert_agree(ours, reference, calls_of(architecture, native))
    assert len(ours.code) < len(reference.filter.code) / 2


@pytest.mark.parametrize("capability", ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"])
@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_the_profile_of_a_container_with_a_capability(engine, capability):
    ours, reference = both(seccomp_profiles.load(engine, capabilities={capability}), "SCMP_ARCH_X86_64")
    for architecture in reference.architectures:
        assert_agree(ours, reference, calls_of(architecture, capability))


# --- any profile ----------------------------------------------------------------------------------

NAMES = [
    "read",
    "clone",
    "personality",
    "socket",
    "sendmsg",
    "accept",
    "accept4",
    "shmget",
    "semop",
    "msgctl",
]
NAMES += ["ipc", "socketcall", "ioctl", "mmap", "mmap2", "time", "chown32", "arch_prctl", "openat2"]
ACTIONS = ["SCMP_ACT_ALLOW", "SCMP_ACT_TRAP", "SCMP_ACT_LOG", "SCMP_ACT_ERRNO"]
EQUALITIES = ["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]


def an_argument(indices: Any, operators: list[str]) -> Any:
    value = st.sampled_from(VALUES)
    return st.fixed_dictionaries(
        {"index": indices, "op": st.sampled_from(operators), "value": value, "valueTwo": value}
    )


@st.composite
def some_rules(draw: Any) -> list[dict[str, Any]]:
    """For each of a few names an action, and one rule with conditions that must all hold, or several rules
    with one condition each, in one entry or in several."""
    rules = []
    action = draw(st.sampled_from(ACTIONS))
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True)):
        kind = draw(st.sampled_from(["plain", "all", "any", "entries"]))
        index = st.integers(0, 5)
        if kind == "plain":
            arguments = [[]]
        elif kind == "all":
            operators = list(libseccomp.OPERATORS)
            indices = draw(st.lists(index, min_size=1, max_size=3, unique=True))
            arguments = [[draw(an_argument(st.just(each), operators)) for each in indices]]
        else:
            same = st.just(draw(index)) if kind == "any" else index
            arguments = [draw(st.lists(an_argument(same, EQUALITIES), min_size=1, max_size=4))]
            if kind == "entries":
                arguments = [[each] for each in arguments[0]]
        rules += [{"names": [name], "action": action, "args": each} for each in arguments]
    return [*draw(st.permutations(rules)), {"names": ["futex_waitv"], "action": "SCMP_ACT_KILL_PROCESS"}]


@settings(max_examples=80, deadline=None)
@given(
    rules=some_rules(),
    default=st.sampled_from(ACTIONS),
    native=st.sampled_from(sorted(COMPANIONS)),
    are_listed=st.booleans(),
    seed=st.integers(0, 1 << 32),
)
def test_any_profile(rules, default, native, are_listed, seed):
    """`futex_waitv`, the newest call by far: without it runc's stub does not count multiplexed names."""
    profile = {"defaultAction": default, "syscalls": rules}
    if are_listed:
        profile["architectures"] = COMPANIONS[native]
    ours, reference = both(profile, native)

    chosen = random.Random(seed)
    small = [*range(25), *VALUES]
    names = {name for rule in rules for name in rule["names"]} | {"socketcall", "ipc"}
    for architecture in reference.architectures:
        numbers = {number for name, number in libseccomp.names_of(architecture).items() if name in names}
        calls = [
            (architecture, number + more, tuple(chosen.choice(small) for _ in range(6)))
            for number in sorted(numbers)
            for more in (0, 0, 0, 1)
        ]
        assert_agree(ours, reference, calls)
