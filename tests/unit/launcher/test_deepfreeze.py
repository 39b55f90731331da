"""Code that became static data: it is what it was, and does what it did."""

from __future__ import annotations

import types

import pytest
from support.launcher import LAUNCHER, deepfreeze, extension, freeze
from support.runtime import CHECKOUT

pytestmark = pytest.mark.skipif(
    not deepfreeze.IS_POSSIBLE, reason="this Python's launcher unmarshals its code at each start"
)

MODULE = '''
"""A bit of all that code can refer to."""
NUMBERS = (0, 1, -1, 2**30 - 1, 2**30, -(2**64), 1 << 200, 0.0, -0.0, 1.5, 1e300, True, False, None, ...)
TEXTS = ("", "a", 'quoted "\\\\?" and ??=', "é", "…", "😀", "\\ud800", "\\0", "a\\nb", "0\\x001")
BYTES = (b"", b"0", b"\\x00\\xff\\x1234", bytes(range(256)))
NESTED = ((), ((),), ((1, "a"), (True, 1.0), (1, 1)))


class Thing:
    def __init__(self, first, /, second=2, *rest, third, **others):
        self.all = (first, second, rest, third, others)

    def closure(self):
        count, unused = 0, lambda value=self: (value, __class__)

        def inner(step):
            nonlocal count
            count += step
            return count

        return inner


def generate(limit):
    try:
        for number in range(limit):
            if number in {1, 3, 5}:
                yield number
    finally:
        yield "end"


def kinds():
    return {kind for kind in {"a", "b", "c"}}
'''


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> types.CodeType:
    """The code of MODULE, as a C compiler has it in the data of a library."""
    writer = deepfreeze.Writer()
    code = writer.code(compile(MODULE, "made/up.py", "exec"))
    directory = tmp_path_factory.mktemp("deepfreeze")
    source = directory / "constants.c"
    source.write_text(
        "\n".join(
            [
                f'#include <Python.h>\n#include "{LAUNCHER}/objects.h"\n#define GROUP_SECTION ".data"',
                *deepfreeze.section("GROUP_SECTION"),
                *writer.lines,
                'static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "constants", NULL, -1, NULL};',
                "PyMODINIT_FUNC PyInit_constants(void)",
                "{",
                "    PyObject *module = PyModule_Create(&definition);",
                f'    PyModule_AddObjectRef(module, "code", {code});',
                "    return module;",
                "}",
            ]
        )
    )
    found: types.CodeType = extension("constants", source, directory).code
    return found


def facts(code: types.CodeType) -> dict[str, object]:
    """All that can be asked of a code object. A set among the constants is compared as it is written."""
    found = {name: getattr(code, name) for name in dir(code) if name.startswith("co_")}
    found["co_lines"], found["co_positions"] = [*code.co_lines()], [*code.co_positions()]
    found["co_consts"] = [
        facts(item) if isinstance(item, types.CodeType)
        else repr(tuple(sorted(item, key=repr)) if isinstance(item, frozenset) else item)
        for item in code.co_consts
    ]  # fmt: skip
    return found


def test_nothing_is_lost(frozen):
    assert facts(frozen) == facts(compile(MODULE, "made/up.py", "exec"))


def run(code: types.CodeType) -> list[object]:
    space: dict[str, object] = {"__name__": "made.up"}
    exec(code, space)
    thing = space["Thing"](1, 3, 4, third=5, sixth=6)
    inner = thing.closure()
    totals = [inner(step) for step in range(100)]  # often enough to be specialised
    with pytest.raises(TypeError) as wrong:
        space["Thing"](second=1)
    return [
        repr([space[name] for name in ("NUMBERS", "TEXTS", "BYTES", "NESTED")]),
        thing.all, totals, [*space["generate"](7)], space["kinds"](), str(wrong.value),
    ]  # fmt: skip


def test_it_runs_as_ever_again_and_again(frozen):
    expected = run(compile(MODULE, "made/up.py", "exec"))
    assert [run(frozen) for _ in range(20)] == [expected] * 20


def test_a_constant_is_written_once():
    writer = deepfreeze.Writer()
    for _ in range(2):
        writer.code(compile("a = ('some', 1, True, 1.0)\nb = 'some'", "x.py", "exec"))
    assert sum('"some"' in line for line in writer.lines) == 1


def test_what_cannot_be_written_is_refused():
    with pytest.raises(TypeError, match="a constant of type complex"):
        deepfreeze.Writer().code(compile("a = 1j", "x.py", "exec"))


def test_every_module_can_be_written():
    modules = freeze.read(CHECKOUT / "pyrunc", "", for_launcher=True)
    writer = deepfreeze.Writer()
    assert len({writer.code(module.code) for module in modules.values()}) == len(modules)
