"""Paths to functions, by tables. A route is (method, path, function); `{name}` in a path is one part of it,
`{name*}` any number of them, for the names of images have slashes.
"""

from __future__ import annotations

import re

from pyrunc.api.call import Call, unquoted
from pyrunc.api.status import HttpError
from pyrunc.errors import INVALID, NOT_FOUND, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    from pyrunc.api.call import Reply
    from pyrunc.api.http1 import Request
    from pyrunc.api.wire import Body

    Handler: TypeAlias = Callable[[Any, Call], Reply]
    Route: TypeAlias = tuple[str, str, Handler]

VERSION, MINIMUM_VERSION = (1, 51), (1, 24)
_VERSIONED = re.compile(r"/v([0-9]{1,3})\.([0-9]{1,3})(/.*)", re.ASCII)
_PART = re.compile(r"\{(\w+)(\*?)\}")


def version_text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def take_version(path: str) -> tuple[tuple[int, int], str]:
    """The version that a path begins with, and the rest. Raises PyruncError INVALID for one that we
    aren't."""
    found = _VERSIONED.fullmatch(path)
    if found is None:
        return VERSION, path
    version = int(found[1]), int(found[2])
    text = version_text(version)
    if version < MINIMUM_VERSION:
        least = version_text(MINIMUM_VERSION)
        raise PyruncError(
            INVALID,
            f"client version {text} is too old. Minimum supported API version is {least}, "
            "please upgrade your client to a newer version",
        )
    if version > VERSION:
        most = version_text(VERSION)
        raise PyruncError(
            INVALID, f"client version {text} is too new. Maximum supported API version is {most}"
        )
    return version, found[3]


class Router:
    """`groups`: (what a group's functions get as their first argument, its routes)."""

    def __init__(self, groups: Iterable[tuple[object, Iterable[Route]]]) -> None:
        self._routes = [
            (method, _compile(path), function, served)
            for served, routes in groups
            for method, path, function in routes
        ]

    def find(self, request: Request, body: Body, peer: int) -> Callable[[], Reply]:
        """The call that `request` asks for. Raises PyruncError NOT_FOUND, or INVALID for a bad query."""
        path, _, query = request.target.partition("?")
        version, rest = take_version(path)
        known_path = False
        for method, pattern, function, served in self._routes:
            found = pattern.fullmatch(rest)
            if found is None:
                continue
            known_path = True
            if method == request.method:
                names = {name: unquoted(value) for name, value in found.groupdict().items()}
                call = Call(request, names, query, version, body, peer)
                return lambda: function(served, call)
        if known_path:
            raise HttpError(405, "method not allowed")
        raise PyruncError(NOT_FOUND, "page not found")


def _compile(path: str) -> re.Pattern[str]:
    parts = _PART.split(path)  # text, name, star, text, name, star, ...
    pattern = re.escape(parts[0])
    for name, star, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.+' if star else '[^/]+'})" + re.escape(text)
    return re.compile(pattern)
