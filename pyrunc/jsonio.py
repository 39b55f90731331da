"""JSON over the C scanner of the standard library, without the 7 ms of `import json`.

`json.decoder` and `json.encoder` are Python around `_json`; what they add that we want (an error with
line and column) is fetched only once the text is known to be bad.
"""

from __future__ import annotations

import _json

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLANK = " \t\n\r"
MAXIMUM_BYTES = 32 << 20  # a config.json larger than this is an attack or a mistake


class _Context:
    """What `_json.make_scanner` reads its settings from, as `json.JSONDecoder` has them."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012  (the scanner empties it after each document)

    @staticmethod
    def parse_constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")


_scan: Any = _json.make_scanner(_Context)  # type: ignore[arg-type]


def loads(data: bytes, where: str = "") -> Any:
    """Parse UTF-8 JSON. Of duplicate keys the last wins, as in Go.

    Raises PyruncError INVALID, naming `where`, line and column.
    """
    if len(data) > MAXIMUM_BYTES:
        raise PyruncError(INVALID, "JSON document is too large", where, f"{len(data)} bytes")
    try:
        text = data.decode()
        begin = len(text) - len(text.lstrip(_BLANK))
        value, end = _scan(text, begin)
    except RecursionError:
        raise PyruncError(INVALID, "invalid JSON", where, "nested too deeply") from None
    except (ValueError, StopIteration, SystemError) as error:  # the last: where json.decoder is not imported
        raise PyruncError(INVALID, "invalid JSON", where, _explain(data, str(error))) from None
    rest = text[end:].lstrip(_BLANK)
    if rest:
        raise PyruncError(INVALID, "invalid JSON", where, f"unexpected {rest[:20]!r} after the document")
    return value


def _explain(data: bytes, fallback: str) -> str:
    """Line and column, by the full decoder: the text is bad, its 7 ms no longer matter."""
    try:
        import json
    except ModuleNotFoundError:  # a fork of the launcher's interpreter can't begin anew with a whole one
        return fallback
    try:
        json.loads(data)
    except ValueError as error:
        return str(error)
    return fallback


def _default(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


def dumps(value: Any, indent: int | None = None) -> str:
    """Serialise `value`; keys keep their order. With `indent` as Go's MarshalIndent prints it."""
    if indent is None:
        return "".join(_encode(value, 0))
    return _pretty(value, indent, "\n")


_encode: Any = _json.make_encoder(
    None, _default, _json.encode_basestring, None, ":", ",", False, False, False
)


def _pretty(value: Any, indent: int, newline: str) -> str:
    inner = newline + " " * indent
    if isinstance(value, dict) and value:
        items = (f"{_json.encode_basestring(k)}: {_pretty(v, indent, inner)}" for k, v in value.items())
        return "{" + inner + ("," + inner).join(items) + newline + "}"
    if isinstance(value, (list, tuple)) and value:
        return "[" + inner + ("," + inner).join(_pretty(v, indent, inner) for v in value) + newline + "]"
    return "".join(_encode(value, 0))
