"""Real documents with a few things in them replaced, doubled, dropped, swapped or added (hypothesis)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Place = tuple[Any, ...]

VALUES = (
    None, True, -1, 1001, 65536, 2**32, 2**63, 2**64, 1.0, "", "0-3", "private", "SCMP_ACT_LOG",
    "RLIMIT_CORE\n", "MB:0=1", "2MB", "c", "nul\0", "\ud800", [], [None], ["é"], [{}], {}, {"a": 1},
    {"": "x"}, {"\0": "x"}, "2TB", "é\0",
)  # fmt: skip


def paths_of(value: Any, path: Place = ()) -> list[Place]:
    """Where the parts of a document are, itself included."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in paths_of(item, (*path, key)))]


def at(document: Any, path: Place) -> Any:
    for key in path:
        document = document[key]
    return document


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def mutate(
    draw: st.DrawFn, document: Any, most: int, is_fixed: Callable[[Place], bool] = lambda _place: False
) -> None:
    """One to `most` times. What `is_fixed`, and what that is part of, stays as it is."""
    for _ in range(draw(st.integers(1, most))):
        paths = [path for path in paths_of(document)[1:] if not is_fixed(path)]
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        parent, key = at(document, path[:-1]), path[-1]
        match draw(st.sampled_from(["any", "value", "drop", "double", "swap", "add"])):
            case "any":
                parent[key] = draw(json_values)
            case "value":
                parent[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
            case "drop":
                del parent[key]
            case "double" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[key]))
            case "swap":
                parent[key] = copy.deepcopy(at(document, draw(st.sampled_from(paths))))
            case "add" if isinstance(parent, dict):
                parent[draw(st.text(max_size=8))] = draw(json_values)
