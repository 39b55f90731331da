"""Operations (plan.ops, makeops, rareops): how an operation is done is found by its name alone."""

import pytest

from pyrunc.child import hooks, rootfs, steps
from pyrunc.linux import apply
from pyrunc.plan import makeops, ops, rareops

OPERATIONS = {
    item
    for module in (ops, makeops, rareops)
    for item in vars(module).values()
    if isinstance(item, type) and issubclass(item, ops.Op) and item is not ops.Op
}
STEPS = {**steps.STEPS, **rootfs.STEPS, **hooks.STEPS}


@pytest.mark.parametrize("operation", sorted(OPERATIONS, key=lambda item: item.__name__))
def test_somebody_knows_how_it_is_done(operation):
    assert operation.__name__ in {*STEPS, *apply.DONE}


def test_a_name_is_one_operation_and_nobody_knows_another():
    names = [item.__name__ for item in OPERATIONS]
    assert len(names) == len(set(names)) > 60
    assert {*STEPS, *apply.DONE} <= set(names)
