"""What a template may call: Go's functions, and those that Docker adds; and how Go shows a value."""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.api.client import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def is_true(value: Any) -> bool:
    """Go's truth is Python's: not zero, and not empty."""
    return bool(value)


def show(value: Any, quotes: bool = False) -> str:
    """As fmt.Print shows it."""
    if value is None:
        return "<nil>" if quotes else "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        shown = (f"{key}:{show(one, True)}" for key, one in sorted(value.items()) if not callable(one))
        return f"map[{' '.join(shown)}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(show(one, True) for one in value)}]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def plain(value: Any) -> Any:
    """Without methods."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if not callable(one)}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def to_json(value: Any) -> str:
    return jsonio.dumps(plain(value))


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif value is None:
            raise ValueError("error calling index: index of untyped nil")
        elif not isinstance(key, int) or not 0 <= key < len(value):
            raise ValueError(f"error calling index: index out of range: {show(key)}")
        else:
            value = ord(value[key]) if isinstance(value, str) else value[key]
    return value


def _slice(value: Any, *bounds: int) -> Any:
    begin = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= begin <= end <= len(value):
        raise ValueError(f"error calling slice: index out of range: {end}")
    return value[begin:end]


def _printf(template: str, *values: Any) -> str:
    """Go's verbs, by Python's where they are alike."""
    made, rest = [], list(values)
    position = 0
    while position < len(template):
        letter = template[position]
        position += 1
        if letter != "%":
            made.append(letter)
            continue
        begin = position
        while position < len(template) and template[position] in "+-# 0123456789.":
            position += 1
        flags, verb = template[begin:position], template[position : position + 1]
        position += 1
        if verb == "%":
            made.append("%")
        elif not rest:
            made.append(f"%!{verb}(MISSING)")
        else:
            made.append(_format(flags, verb, rest.pop(0)))
    if rest:
        made.append(f"%!(EXTRA {', '.join(map(show, rest))})")
    return "".join(made)


def _format(flags: str, verb: str, value: Any) -> str:
    if verb in ("v", "s"):
        return f"%{flags.strip('+#')}s" % show(value)
    if verb == "q":
        return f"%{flags.strip('+#')}s" % jsonio.dumps(show(value))
    if verb == "t":
        return show(value)
    if verb in "dxXocbfFeEgG" and verb and isinstance(value, (int, float)):
        if verb == "b":
            return f"{int(value):b}"
        return f"%{flags}{verb}" % (int(value) if verb in "dxXoc" else value)
    return f"%!{verb}({show(value)})"


def _print(*values: Any) -> str:
    """fmt.Sprint: a blank between two of which neither is text."""
    made = ""
    for position, value in enumerate(values):
        if position and not isinstance(value, str) and not isinstance(values[position - 1], str):
            made += " "
        made += show(value)
    return made


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("error calling eq: missing argument for comparison")
    return any((type(one) is type(first) and one == first) or _are_numbers(first, one) for one in others)


def _are_numbers(first: Any, second: Any) -> bool:
    numbers = isinstance(first, (int, float)) and isinstance(second, (int, float))
    return numbers and not isinstance(first, bool) and not isinstance(second, bool) and bool(first == second)


def _escape_html(text: str) -> str:
    for letter, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(letter, name)
    return text


def _pad(text: str, before: int, after: int) -> str:
    return f"{' ' * before}{text}{' ' * after}" if text else text


def _length(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else len(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "not": lambda value: not is_true(value),
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "index": _index,
    "slice": _slice,
    "len": _length,
    "print": _print,
    "println": lambda *values: " ".join(map(show, values)) + "\n",
    "printf": _printf,
    "html": lambda *values: _escape_html(_print(*values)),
    "js": lambda *values: jsonio.dumps(_print(*values))[1:-1],
    "urlquery": lambda *values: quote(_print(*values), "").replace("%20", "+"),
    "call": lambda function, *values: function(*values),
    "json": to_json,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "join": lambda values, separator: separator.join(map(show, values or ())),
    "title": lambda text: text[:1].upper() + text[1:],
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": _pad,
    "truncate": lambda text, size: text[:size],
}


def _and(values: list[Callable[[], Any]]) -> Any:
    value: Any = None
    for get in values:
        value = get()
        if not is_true(value):
            break
    return value


def _or(values: list[Callable[[], Any]]) -> Any:
    value: Any = None
    for get in values:
        value = get()
        if is_true(value):
            break
    return value


# These look at an argument only if they need it
LAZY: dict[str, Callable[[list[Callable[[], Any]]], Any]] = {"and": _and, "or": _or}
