"""`--filter NAME=VALUE`, as the API wants them; and references to images in their parts. Pure."""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def make_filters(words: Iterable[str], **more: str) -> dict[str, dict[str, bool]]:
    """{"status": {"exited": true}}. Raises PyruncError INVALID."""
    made: dict[str, dict[str, bool]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise PyruncError(INVALID, "invalid argument: bad format of filter (expected name=value)", word)
        made.setdefault(name.strip().lower(), {})[value.strip()] = True
    for name, value in more.items():
        made.setdefault(name, {})[value] = True
    return made


def split_reference(text: str) -> tuple[str, str]:
    """(name, tag or digest or nothing): "x:5000/a:b" is ("x:5000/a", "b")."""
    name, at, digest = text.partition("@")
    if at:
        return split_reference(name)[0], digest
    head, colon, tag = text.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (text, "")


def qualify(name: str) -> str:
    """As the API gets names for commit and tag: "busybox" is "docker.io/library/busybox"."""
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"
