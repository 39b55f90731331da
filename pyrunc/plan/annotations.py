"""Annotations `org.systemd.property.NAME`: a property of the container's unit, its value as GVariant text.

Pure. Whoever may write these may have systemd run programs of his: an engine must not pass on an image's, or
a stranger's (`features` says so).
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrunc.plan.rareops import Property, PropertyValue, Scalar

_INTEGERS = {
    "byte": ("y", 0, 255),
    "int16": ("n", -(1 << 15), (1 << 15) - 1),
    "uint16": ("q", 0, (1 << 16) - 1),
    "int32": ("i", -(1 << 31), (1 << 31) - 1),
    "uint32": ("u", 0, (1 << 32) - 1),
    "int64": ("x", -(1 << 63), (1 << 63) - 1),
    "uint64": ("t", 0, (1 << 64) - 1),
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_SHORTEST_NAME = 3


def property_of(name: str, text: str, pointer: str) -> Property:
    """Raises PyruncError INVALID. A time named `…Sec`, in seconds, becomes the `…USec` that D-Bus has."""
    if len(name) < _SHORTEST_NAME or not (name.isascii() and name.isalpha()):
        why = "a property's name is of three letters or more"
        raise PyruncError(INVALID, "invalid systemd property", pointer, why)
    signature, value = _parse(text, pointer)
    if name.endswith("Sec") and not name.endswith("USec"):
        return f"{name[:-3]}USec", "t", _microseconds(value, pointer)
    return name, signature, value


def _wrong(pointer: str, text: str) -> NoReturn:
    why = f"{text!r} is not a value like 5, uint32 5, true, 'text' or ['a', 'b']"
    raise PyruncError(INVALID, "invalid systemd property", pointer, why)


def _microseconds(value: PropertyValue, pointer: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise PyruncError(INVALID, "invalid systemd property", pointer, "a time is a number of seconds")
    return int(value * 1_000_000)


def _parse(text: str, pointer: str) -> tuple[str, PropertyValue]:
    text = text.strip()
    if text.startswith("@as"):
        text = text[3:].strip()
        if text == "[]":
            return "as", ()
    if text.startswith("["):
        return _parse_array(text, pointer)
    return _parse_scalar(text, pointer)


def _parse_array(text: str, pointer: str) -> tuple[str, PropertyValue]:
    if not text.endswith("]"):
        _wrong(pointer, text)
    parts = [_parse_scalar(part, pointer) for part in _split(text[1:-1], pointer)]
    if len({signature for signature, _ in parts}) > 1:
        _wrong(pointer, text)
    return f"a{parts[0][0]}", tuple(value for _, value in parts)


def _split(text: str, pointer: str) -> list[str]:
    """At commas outside quotes."""
    parts, start, quote, at = [], 0, "", 0
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter == ",":
            parts.append(text[start:at])
            start = at + 1
        at += 1
    if quote:
        _wrong(pointer, text)
    return [*parts, text[start:]]


def _parse_scalar(text: str, pointer: str) -> tuple[str, Scalar]:
    text = text.strip()
    if text in ("true", "false"):
        return "b", text == "true"
    if text[:1] in ("'", '"'):
        return "s", _parse_string(text, pointer)
    kind, _, rest = text.partition(" ")
    if kind == "string":
        return "s", _parse_string(rest.strip(), pointer)
    signature, least, most = _INTEGERS.get(kind, _INTEGERS["int32"])
    digits = rest.strip() if kind in _INTEGERS else text
    number = _integer(digits)
    if number is None and kind in ("double", text):
        try:
            return "d", float(rest if kind == "double" else text)
        except ValueError:
            _wrong(pointer, text)
    if number is None or not least <= number <= most:
        _wrong(pointer, text)
    return signature, number


def _integer(text: str) -> int | None:
    digits = text.lstrip("+-")
    base = 16 if digits[:2] in ("0x", "0X") else 10
    try:
        return int(text, base) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def _parse_string(text: str, pointer: str) -> str:
    if len(text) < 2 or text[-1] != text[0] or text[0] not in "'\"":
        _wrong(pointer, text)
    letters, at, last = [], 1, len(text) - 1
    while at < last:
        if text[at] == text[0]:
            _wrong(pointer, text)
        if text[at] == "\\":
            at += 1
            if at >= last:
                _wrong(pointer, text)
            letters.append(_ESCAPES.get(text[at], text[at]))
        else:
            letters.append(text[at])
        at += 1
    return "".join(letters)
