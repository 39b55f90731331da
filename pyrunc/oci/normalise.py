"""A document as its writer meant it: Go writes `null` for what is absent, and reads it so.

Neither the generated check nor the parser needs this, both pass `null` over. It is for those who would trip
over it, as jsonschema does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def without_nulls(value: Any) -> Any:
    """`value` without the members that are null. What has none is returned as it is, not copied.

    A null in a list stays: it is an entry, and a wrong one.
    """
    if type(value) is dict:
        kept = {name: without_nulls(item) for name, item in value.items() if item is not None}
        is_same = len(kept) == len(value) and all(kept[name] is value[name] for name in kept)
        return value if is_same else kept
    if type(value) is list:
        items = [without_nulls(item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value
