"""Code objects as C: static data that is there when the program is, where unmarshalling them is a fifth of a
`create`. build.py has the rest of the launcher.

The form of these objects is a version's own, so this is for CPython 3.11; launchers of others unmarshal. What
is written is made of the macros in objects.h. Each constant is written once, however many modules have it. A
set of constants becomes a tuple, for a set's order depends on hashes: `in` and iteration are all that code
does with it.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterable
from types import CodeType
from typing import Any

IS_POSSIBLE = sys.version_info[:2] == (3, 11) and sys.byteorder == "little"

_DIGIT_BITS = sys.int_info.bits_per_digit
_LOCAL, _CELL, _FREE = 0x20, 0x40, 0x80  # kinds of a function's variables
_SINGLE = {None: "Py_None", True: "Py_True", False: "Py_False", ...: "Py_Ellipsis"}


class Writer:
    """`lines`: the text. An object is written after all that it refers to. Apart
    goes what the interpreter counts no references to and reads for a traceback at most: a page that has only
    such is never wanted."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._names: dict[object, str] = {}  # what was written already
        self._aside_names: dict[object, str] = {}

    def code(self, code: CodeType) -> str:
        """Writes it and all below it; returns a C expression for it."""
        kinds = _kinds(code)
        fields = {
            "co_consts": self._tuple(code.co_consts),
            "co_names": self._tuple(code.co_names),
            "co_exceptiontable": self._aside(code.co_exceptiontable),
            "co_flags": code.co_flags,
            "co_argcount": code.co_argcount,
            "co_posonlyargcount": code.co_posonlyargcount,
            "co_kwonlyargcount": code.co_kwonlyargcount,
            "co_stacksize": code.co_stacksize,
            "co_firstlineno": code.co_firstlineno,
            "co_nlocalsplus": len(kinds),
            "co_nlocals": code.co_nlocals,
            "co_nplaincellvars": sum(name not in code.co_varnames for name in code.co_cellvars),
            "co_ncellvars": len(code.co_cellvars),
            "co_nfreevars": len(code.co_freevars),
            "co_localsplusnames": self._aside(tuple(kinds)),
            "co_localspluskinds": self._aside(bytes(kinds.values())),
            "co_filename": self._value(code.co_filename),
            "co_name": self._value(code.co_name),
            "co_qualname": self._value(code.co_qualname),
            "co_linetable": self._aside(code.co_linetable),
            "_co_firsttraceable": code.co_code[::2].index(dis.opmap["RESUME"]),
        }
        name = f"code{len(self.lines)}"
        given = ", ".join(f".{field} = {value}" for field, value in fields.items())
        self.lines.append(f"CODE_OBJECT({name}, {len(code.co_code)}, {_text(code.co_code)}, {given})")
        return f"REF({name})"

    def _value(self, value: Any) -> str:
        if isinstance(value, CodeType):
            return self.code(value)
        if value is None or value is ... or isinstance(value, bool):
            return _SINGLE[value]
        if isinstance(value, tuple):
            return self._tuple(value)
        if isinstance(value, frozenset):
            return self._tuple(tuple(sorted(value, key=repr)))
        key = (type(value), repr(value))
        if key not in self._names:
            name = self._names[key] = f"o{len(self.lines)}"
            self.lines.append(_define(name, value))
        return f"REF({self._names[key]})"

    def _aside(self, value: bytes | tuple[str, ...]) -> str:
        is_tuple = isinstance(value, tuple)
        items = tuple(map(self._value, value)) if isinstance(value, tuple) else ()
        if value not in self._aside_names:
            name = self._aside_names[value] = f"o{len(self.lines)}"
            written = _define_tuple(name, items) if is_tuple else _define(name, value)
            self.lines += [*section('"asides"'), written, *section("GROUP_SECTION")]
        return f"{'MEMBER' if is_tuple else 'REF'}({self._aside_names[value]})"

    def _tuple(self, values: tuple[object, ...]) -> str:
        items = tuple(self._value(value) for value in values)
        if items not in self._names:
            name = self._names[items] = f"o{len(self.lines)}"
            self.lines.append(_define_tuple(name, items))
        return f"MEMBER({self._names[items]})"


def section(place: str) -> list[str]:
    """Where in the program that lies which follows."""
    return ["#undef SECTION", f"#define SECTION {place}"]


def _kinds(code: CodeType) -> dict[str, int]:
    """Its variables in order; one may be a local and a cell both."""
    kinds: dict[str, int] = {}
    for names, kind in ((code.co_varnames, _LOCAL), (code.co_cellvars, _CELL), (code.co_freevars, _FREE)):
        for name in names:
            kinds[name] = kinds.get(name, 0) | kind
    return kinds


def _define_tuple(name: str, items: tuple[str, ...]) -> str:
    return f"TUPLE({name}, {len(items)}, {', '.join(items)})" if items else f"EMPTY({name})"


def _define(name: str, value: object) -> str:
    match value:
        case str() if value.isascii():
            return f"ASCII({name}, {len(value)}, {_text(value.encode())})"
        case str():
            width = next(width for width in (1, 2, 4) if ord(max(value)) < 1 << 8 * width)
            return f"WIDE({name}, {len(value)}, {width}, {', '.join(str(ord(letter)) for letter in value)})"
        case bytes():
            return f"BYTES({name}, {len(value)}, {_text(value)})"
        case int():
            digits = list(_digits(abs(value))) or [0]
            sign = (value > 0) - (value < 0)
            return f"INTEGER({name}, {sign}, {len(digits)}, {', '.join(map(str, digits))})"
        case float():
            return f"FLOAT({name}, {value.hex()})"
    raise TypeError(f"a constant of type {type(value).__name__}")


def _digits(value: int) -> Iterable[int]:
    while value:
        yield value & (1 << _DIGIT_BITS) - 1
        value >>= _DIGIT_BITS


def _text(value: bytes) -> str:
    """A C string. Octal escapes are three digits long, whatever follows."""
    plain = b'"\\?'
    return '"' + "".join(chr(c) if 32 <= c < 127 and c not in plain else f"\\{c:03o}" for c in value) + '"'
