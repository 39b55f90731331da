"""plan.devicerules and plan.devicebpf: who may use which device. Pure; the kernel is simulated, twice.

The oracle is the sentence of the specification: rules apply in the order of the list. It is compared with a
simulator of BPF running our program, and with a model of the v1 controller taking our writes.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrunc.errors import INVALID, PyruncError
from pyrunc.oci.config import DeviceRule
from pyrunc.plan.devicebpf import assemble
from pyrunc.plan.devicerules import DEFAULT_RULES, MKNOD, READ, WRITE, effective_rules, plan_device_writes

WORD = (1 << 64) - 1
LETTERS = {"m": MKNOD, "r": READ, "w": WRITE}


def oracle(rules, kind, major, minor, access) -> bool:
    """Each kind of access by itself: what the last rule that names it says; nothing said is "no"."""
    everything = [
        *((r.allow, r.type, r.major, r.minor, sum(LETTERS[x] for x in set(r.access))) for r in rules),
        *((r.allow, r.type, r.major, r.minor, r.access) for r in DEFAULT_RULES),
    ]

    def last_word(bit):
        for allow, type_, rule_major, rule_minor, bits in reversed(everything):
            names = type_ in ("a", kind) and rule_major in (None, major) and rule_minor in (None, minor)
            if names and bits & bit:
                return allow
        return False

    return all(last_word(bit) for bit in (MKNOD, READ, WRITE) if access & bit)


def run_bpf(program: bytes, kind: str, major: int, minor: int, access: int) -> bool:
    """The instructions that a device program may consist of; anything else is a KeyError."""
    context = struct.pack("<III", access << 16 | {"b": 1, "c": 2}[kind], major, minor)
    code = list(struct.iter_unpack("<BBhi", program))
    registers: dict[int, int] = {1: 0}
    at = 0
    for _ in range(len(code) + 1):
        opcode, operands, offset, value = code[at]
        target, source = operands & 15, operands >> 4
        at += 1
        if opcode == 0x95:
            return bool(registers[0])
        if opcode == 0x61:
            assert source == 1
            registers[target] = struct.unpack_from("<I", context, offset)[0]
        elif opcode == 0xB7:
            registers[target] = value
        elif opcode == 0xBF:
            registers[target] = registers[source]
        elif opcode == 0x57:
            registers[target] &= value
        elif opcode == 0x4F:
            registers[target] |= registers[source]
        elif opcode == 0xA7:
            registers[target] ^= value & WORD
        elif opcode == 0x67:
            registers[target] = registers[target] << value & WORD
        elif opcode == 0x77:
            registers[target] >>= value
        elif opcode == 0xC7:
            signed = registers[target] - (1 << 64 if registers[target] >> 63 else 0)
            registers[target] = signed >> value & WORD
        elif opcode == 0x55:
            at += offset if registers[target] != value & WORD else 0
        elif opcode == 0x45:
            at += offset if registers[target] & value else 0
        elif opcode == 0x05:
            at += offset
        else:
            raise KeyError(opcode)
    raise AssertionError("the program does not end")


def run_v1(writes, kind, major, minor, access) -> bool:
    """The v1 controller (security/device_cgroup.c): a default, and exceptions that each must cover all."""
    allows, exceptions = True, []
    for write in writes:
        is_allow = write.path.endswith("devices.allow")
        for line in write.value.split("\n"):
            if line == "a":
                allows, exceptions = is_allow, []
                continue
            assert is_allow != allows, "a removal: the kernel ignores it unless it is exact"
            type_, numbers, letters = line.split(" ")
            wanted = [None if part == "*" else int(part) for part in numbers.split(":")]
            exceptions.append((type_, *wanted, sum(LETTERS[x] for x in letters)))
    matching = [
        bits
        for type_, rule_major, rule_minor, bits in exceptions
        if type_ == kind and rule_major in (None, major) and rule_minor in (None, minor)
    ]
    if allows:
        return not any(bits & access for bits in matching)
    return any(not access & ~bits for bits in matching)


def rule(allow, type_="a", major=None, minor=None, access="rwm"):
    return DeviceRule(allow=allow, type=type_, major=major, minor=minor, access=access, origin="/x")


numbers = st.sampled_from([None, 0, 1, 3, 5, 8, 136, 2047, 2048, 4095])
rules_of_all_kinds = st.lists(
    st.builds(
        rule,
        st.booleans(),
        st.sampled_from(["a", "b", "c"]),
        numbers,
        numbers,
        st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"]),
    ),
    max_size=7,
)
requests = st.tuples(
    st.sampled_from(["b", "c"]),
    st.sampled_from([0, 1, 3, 5, 8, 10, 136, 259, 2047, 2048, 4095]),
    st.sampled_from([0, 1, 2, 3, 5, 200, 2048, (1 << 20) - 1]),
    st.integers(1, 7),
)


@settings(max_examples=400, deadline=None)
@given(rules_of_all_kinds, st.lists(requests, min_size=1, max_size=20))
def test_the_program_does_what_the_list_says(rules, asked):
    program = assemble(*effective_rules(rules))
    for request in asked:
        assert run_bpf(program, *request) == oracle(rules, *request), request


@settings(max_examples=400, deadline=None)
@given(rules_of_all_kinds, st.lists(requests, min_size=1, max_size=20))
def test_the_v1_writes_do_what_the_list_says_or_are_refused(rules, asked):
    """v1 can't join two exceptions for one request: such a one it may deny, but never allow."""
    try:
        writes = plan_device_writes(*effective_rules(rules), "/cg")
    except PyruncError as error:
        assert "cgroup v1 cannot express" in error.why
        return
    for kind, major, minor, access in asked:
        said = oracle(rules, kind, major, minor, access)
        done = run_v1(writes, kind, major, minor, access)
        assert done == said or (said and not done and access & access - 1), (kind, major, minor, access)


DENY_ALL = rule(False)


@pytest.mark.parametrize(
    ("request_", "allowed"),
    [
        (("c", 1, 3, READ | WRITE), True),  # null
        (("c", 5, 2, READ | WRITE), True),  # ptmx
        (("c", 136, 7, READ | WRITE), True),  # pts
        (("c", 10, 200, READ), True),  # tun
        (("b", 8, 0, MKNOD), True),  # to make a node is no access
        (("b", 8, 0, READ), False),
        (("c", 1, 1, READ), False),  # mem
        (("c", 10, 229, WRITE), False),  # fuse
    ],
)
@pytest.mark.parametrize("rules", [(), (DENY_ALL,)])
def test_what_any_container_may_use(rules, request_, allowed):
    assert run_bpf(assemble(*effective_rules(rules)), *request_) == allowed
    assert run_v1(plan_device_writes(*effective_rules(rules), "/cg"), *request_) == allowed


def test_everything():
    assert effective_rules([DENY_ALL, rule(True)]) == (True, ())
    assert effective_rules([rule(True), rule(True, "c", 1, 1)]) == (True, ())
    writes = plan_device_writes(True, (), "/cg")
    assert [(write.path, write.value) for write in writes] == [("/cg/devices.allow", "a")]


def test_everything_but_one():
    allows_all, rules = effective_rules([rule(True), rule(False, "b", 8, 0, "w")])
    first, second = plan_device_writes(allows_all, rules, "/cg")
    assert (first.path, first.value) == ("/cg/devices.allow", "a")
    assert (second.path, second.value) == ("/cg/devices.deny", "b 8:0 w")


def test_type_a_with_numbers_is_not_everything():
    """The v1 file would take "a 8:0 r" for all devices and all access."""
    rules = [rule(True, "a", 8, 0, "r")]
    writes = plan_device_writes(*effective_rules(rules), "/cg")
    assert not run_v1(writes, "b", 8, 1, READ)
    assert run_v1(writes, "b", 8, 0, READ)
    assert "b 8:0 r" in writes[1].value.split("\n")


def test_what_v1_cannot_express_is_an_error_with_the_pointer():
    with pytest.raises(PyruncError) as caught:
        plan_device_writes(*effective_rules([rule(True, "b"), rule(False, "b", 8, 0)]), "/cg")
    assert (caught.value.kind, caught.value.where) == (INVALID, "/x")


@pytest.mark.parametrize(
    "wrong",
    [rule(True, "c", 1, 1, "rx"), rule(True, "p"), rule(True, "c", -2, 1), rule(True, "c", 1, 1 << 31)],
)
def test_a_wrong_rule_names_its_place(wrong):
    with pytest.raises(PyruncError) as caught:
        effective_rules([wrong])
    assert (caught.value.kind, caught.value.where) == (INVALID, "/x")


def test_numbers_that_no_device_has_match_none():
    """Not even one whose number is the same modulo the bits that there are."""
    program = assemble(*effective_rules([rule(True, "c", 4096 + 7, 1), rule(True, "c", 7, (1 << 20) + 1)]))
    assert not run_bpf(program, "c", 7, 1, READ)
    assert not run_bpf(program, "c", 8, 1, READ)


def test_more_rules_than_a_program_can_have():
    rules = [rule(True, "c", number % 4096, number // 4096) for number in range(7000)]
    with pytest.raises(PyruncError, match="invalid device rules"):
        assemble(*effective_rules(rules))


def test_a_rule_given_twice_takes_no_room():
    once = assemble(*effective_rules([DENY_ALL]))
    again = [rule(True, "c", item.major, item.minor) for item in DEFAULT_RULES if item.major is not None]
    assert len(assemble(*effective_rules([DENY_ALL, *again]))) == len(once)
    assert len(once) % 8 == 0
