"""plan.bpf: jumps of any length go where they should. Programs are run by a machine of the tests' own."""

import itertools

import pytest
from support.bpf import Filter

from pyrunc.plan.bpf import JUMP_EQUAL, NUMBER_OFFSET, WORD, Program, tree

ALLOW, TRAP, DEFAULT = 0x7FFF0000, 0x00030000, 0x00050001
EQUAL_TO_7 = ((0, JUMP_EQUAL, False, 7, WORD),)


def run(program: Program, number: int, *arguments: int) -> int:
    return Filter(program.assemble(is_big_endian=False)).verdict(0, number, arguments)


@pytest.mark.parametrize("between", [0, 1, 253, 254, 255, 256, 257, 1000])
@pytest.mark.parametrize("is_true_far", [True, False])
def test_a_jump_reaches_over_any_distance(between, is_true_far):
    program = Program()
    far = program.give(TRAP)
    for _ in range(between):
        program.keep_bits(WORD)
    near = program.give(ALLOW)
    true, false = (far, near) if is_true_far else (near, far)
    program.test(JUMP_EQUAL, 5, true, false)
    program.load(NUMBER_OFFSET)

    assert run(program, 5) == (TRAP if is_true_far else ALLOW)
    assert run(program, 6) == (ALLOW if is_true_far else TRAP)


@pytest.mark.parametrize("between", range(250, 260))
@pytest.mark.parametrize("is_true_first", [True, False])
def test_both_sides_can_be_far(between, is_true_first):
    program = Program()
    for verdict in (TRAP, ALLOW) if is_true_first else (ALLOW, TRAP):
        program.give(verdict)
    true, false = program.give(TRAP), program.give(ALLOW)
    for _ in range(between):
        program.keep_bits(WORD)
    program.test(JUMP_EQUAL, 5, true, false)
    program.load(NUMBER_OFFSET)

    assert (run(program, 5), run(program, 6)) == (TRAP, ALLOW)


def test_a_return_is_shared_where_it_is_in_reach():
    program = Program()
    assert program.give(ALLOW) == program.give(ALLOW)
    for _ in range(300):
        program.keep_bits(WORD)
    assert program.give(ALLOW) == len(program)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 64, 400, 1500])
@pytest.mark.parametrize("width", [1, 3])
def test_the_tree_finds_the_range_of_every_number(count, width):
    verdicts = itertools.cycle([DEFAULT, ALLOW, DEFAULT, TRAP, ALLOW])
    ranges = [(index * width, verdict) for index, verdict in zip(range(count), verdicts, strict=False)]
    program = Program()
    tree(program, ranges, DEFAULT, is_big_endian=False)
    made = Filter(program.assemble(is_big_endian=False))

    for start, verdict in ranges[:: max(1, count // 40)]:
        for number in range(start, start + width):
            assert made.verdict(0, number) == verdict
    assert made.verdict(0, 0xFFFFFFFF) == ranges[-1][1]


def test_numbers_with_conditions_amid_a_range():
    matches = ((EQUAL_TO_7, TRAP),)
    program = Program()
    tree(program, [(0, ALLOW), (10, matches), (11, ALLOW), (20, DEFAULT)], DEFAULT, is_big_endian=False)

    assert [run(program, number, 7) for number in (9, 10, 11, 20)] == [ALLOW, TRAP, ALLOW, DEFAULT]
    assert run(program, 10, 8) == DEFAULT


def test_a_range_for_all_needs_no_number():
    program = Program()
    tree(program, [(0, ((EQUAL_TO_7, TRAP),))], DEFAULT, is_big_endian=False)
    assert (run(program, 3, 7), run(program, 3, 8)) == (TRAP, DEFAULT)


def test_byte_order_of_the_machine():
    program = Program()
    program.test(JUMP_EQUAL, 0x01020304, program.give(TRAP), program.give(ALLOW))
    program.load(NUMBER_OFFSET)

    big, little = program.assemble(is_big_endian=True), program.assemble(is_big_endian=False)
    assert Filter(big, ">").code == Filter(little, "<").code
    assert big[8:16] == bytes.fromhex("0015010001020304")
