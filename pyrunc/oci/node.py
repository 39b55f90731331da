"""A cursor into parsed JSON that knows its pointer, so that a wrong value names its own place.

`null` counts as absent everywhere, as it does for the Go runtimes (runtime reference 2.1).
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


NOT_VALID = "config.json is not valid"


def escape(key: str) -> str:
    """One reference token of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key


class Node:
    """An object of the document. Getters raise PyruncError INVALID with the pointer of the field."""

    __slots__ = ("pointer", "value")

    def __init__(self, value: Any, pointer: str = "") -> None:
        if type(value) is not dict:
            raise PyruncError(INVALID, NOT_VALID, pointer or "/", "is not an object")
        self.value: dict[str, Any] = value
        self.pointer = pointer

    def _get(self, name: str, kind: type, default: Any) -> Any:
        value = self.value.get(name)
        if value is None:
            if default is _REQUIRED:
                raise self.wrong(name, "is required")
            return default
        if type(value) is not kind:
            raise self.wrong(name, f"is not {_NAMES[kind]}")
        return value

    def wrong(self, name: str, why: str) -> PyruncError:
        return PyruncError(INVALID, NOT_VALID, f"{self.pointer}/{escape(name)}", why)

    def text(self, name: str, default: str = "") -> str:
        return self._get(name, str, default)  # type: ignore[no-any-return]

    def need_text(self, name: str) -> str:
        return self._get(name, str, _REQUIRED)  # type: ignore[no-any-return]

    def flag(self, name: str) -> bool:
        return self._get(name, bool, False)  # type: ignore[no-any-return]

    def maybe_flag(self, name: str) -> bool | None:
        return self._get(name, bool, None)  # type: ignore[no-any-return]

    def number(self, name: str, default: int = 0) -> int:
        return self._get(name, int, default)  # type: ignore[no-any-return]

    def need_number(self, name: str) -> int:
        return self._get(name, int, _REQUIRED)  # type: ignore[no-any-return]

    def maybe_number(self, name: str) -> int | None:
        return self._get(name, int, None)  # type: ignore[no-any-return]

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._items(name, str))

    def numbers(self, name: str) -> tuple[int, ...]:
        return tuple(self._items(name, int))

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """An object of strings, as (key, value) pairs in the order of the document."""
        found = [
            (key, value) for key, value in (self._get(name, dict, None) or {}).items() if value is not None
        ]
        for key, value in found:
            if type(value) is not str:
                raise Node(self.value[name], f"{self.pointer}/{escape(name)}").wrong(key, "is not a string")
        return tuple(found)

    def child(self, name: str) -> Node | None:
        value = self.value.get(name)
        return None if value is None else Node(value, f"{self.pointer}/{escape(name)}")

    def children(self, name: str) -> Iterator[Node]:
        """The objects of a list."""
        for index, value in enumerate(self._get(name, list, None) or ()):
            yield Node(value, f"{self.pointer}/{escape(name)}/{index}")

    def members(self, name: str) -> Iterator[tuple[str, Node]]:
        """The objects of an object of objects, with their keys."""
        for key, value in (self._get(name, dict, None) or {}).items():
            if value is not None:
                yield key, Node(value, f"{self.pointer}/{escape(name)}/{escape(key)}")

    def has(self, name: str) -> bool:
        return self.value.get(name) is not None

    def _items(self, name: str, kind: type) -> list[Any]:
        items: list[Any] = self._get(name, list, None) or []
        for index, item in enumerate(items):
            if type(item) is not kind:
                pointer = f"{self.pointer}/{escape(name)}/{index}"
                raise PyruncError(INVALID, NOT_VALID, pointer, f"is not {_NAMES[kind]}")
        return items


_REQUIRED = object()
_NAMES = {str: "a string", int: "an integer", bool: "a boolean", list: "a list", dict: "an object"}
