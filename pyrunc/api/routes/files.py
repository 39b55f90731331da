"""/containers: their files, by `cp`, `export`, `diff`; and /commit."""

from __future__ import annotations

import base64

from pyrunc import jsonio
from pyrunc.api import bodies
from pyrunc.api.call import Empty, Json, Stream
from pyrunc.api.routes.transfers import piped
from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.http1 import Headers
    from pyrunc.api.router import Route

    class Archive(Protocol):
        def stat(self, text: str, path: str) -> Any: ...
        def read(self, text: str, path: str, sink: Callable[[bytes], object]) -> None: ...
        def write(
            self, text: str, path: str, source: Callable[[int], bytes], *, keeps_kinds: bool
        ) -> None: ...
        def export(self, text: str, sink: Callable[[bytes], object]) -> None: ...
        def changes(self, text: str) -> tuple[Any, ...]: ...
        def commit(
            self,
            text: str,
            *,
            reference: str,
            comment: str,
            author: str,
            instructions: tuple[str, ...],
            config: dict[str, Any],
            pauses: bool,
        ) -> Any: ...

    class Needs(Protocol):
        archive: Archive


_KINDS = {"C": 0, "A": 1, "D": 2}
_TAR_TYPE = "application/x-tar"
_OCTETS = "application/octet-stream"


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise PyruncError(INVALID, "no path was given")
    return path


def _stat_header(found: Any) -> Headers:
    document = {
        "name": found.name,
        "size": found.size,
        "mode": found.mode,
        "mtime": found.modified,
        "linkTarget": found.link,
    }
    text = base64.b64encode(jsonio.dumps(document).encode("utf-8", "replace")).decode()
    return (("X-Docker-Container-Path-Stat", text),)


def stat(engine: Needs, call: Call) -> Empty:
    return Empty(status=200, headers=_stat_header(engine.archive.stat(call.names["name"], _path(call))))


def read(engine: Needs, call: Call) -> Stream:
    name, path = call.names["name"], _path(call)
    headers = _stat_header(engine.archive.stat(name, path))
    stream = piped(lambda sink: engine.archive.read(name, path, sink), _TAR_TYPE)
    return Stream(pieces=stream.pieces, content_type=_TAR_TYPE, headers=headers)


def write(engine: Needs, call: Call) -> Empty:
    engine.archive.write(
        call.names["name"], _path(call), call.body.read, keeps_kinds=call.is_set("noOverwriteDirNonDir")
    )
    return Empty(status=200)


def export(engine: Needs, call: Call) -> Stream:
    return piped(lambda sink: engine.archive.export(call.names["name"], sink), _OCTETS)


def changes(engine: Needs, call: Call) -> Json:
    found = engine.archive.changes(call.names["name"])
    return Json(value=[{"Path": one.path, "Kind": _KINDS[one.kind]} for one in found] or None)


def commit(engine: Needs, call: Call) -> Json:
    reference = call.text("repo")
    if reference and call.text("tag"):
        reference += ":" + call.text("tag")
    made = engine.archive.commit(
        call.text("container"),
        reference=reference,
        comment=call.text("comment"),
        author=call.text("author"),
        instructions=tuple(line for text in call.texts("changes") for line in text.split("\n")),
        config=call.document(bodies.CONFIG),
        pauses=call.is_set("pause", True),
    )
    return Json(value={"Id": made.id}, status=201)


ROUTES: tuple[Route, ...] = (
    ("HEAD", "/containers/{name}/archive", stat),
    ("GET", "/containers/{name}/archive", read),
    ("PUT", "/containers/{name}/archive", write),
    ("GET", "/containers/{name}/export", export),
    ("GET", "/containers/{name}/changes", changes),
    ("POST", "/commit", commit),
)
