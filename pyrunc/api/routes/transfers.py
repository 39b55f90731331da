"""/images: what comes in and goes out, by registries and archives."""

from __future__ import annotations

import threading
from queue import Queue

from pyrunc.api.call import Stream
from pyrunc.api.progress import encode, shown, streamed
from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.progress import Tell
    from pyrunc.api.router import Route

    class Images(Protocol):
        def pull(
            self, name: str, tag: str, *, platform: str, credentials: dict[str, Any], progress: Any
        ) -> None: ...
        def push(self, name: str, tag: str, *, credentials: dict[str, Any], progress: Any) -> Any: ...
        def all_tags(self, name: str) -> tuple[str, ...]: ...
        def save(self, texts: tuple[str, ...], sink: Callable[[bytes], object], platform: str) -> None: ...
        def load(self, source: Callable[[int], bytes], progress: Any) -> None: ...
        def import_tree(
            self,
            source: Callable[[int], bytes] | str,
            *,
            reference: str,
            message: str,
            changes: tuple[str, ...],
            platform: str,
        ) -> Any: ...

    class Needs(Protocol):
        images: Images


_QUEUED_PIECES = 16
_TAR_TYPE = "application/x-tar"


def create(engine: Needs, call: Call) -> Stream:
    """`docker pull` and `docker import` are one route."""
    return _import(engine, call) if call.text("fromSrc") else _pull(engine, call)


def _pull(engine: Needs, call: Call) -> Stream:
    name, tag = call.text("fromImage"), call.text("tag")
    if not name:
        raise PyruncError(INVALID, "neither fromImage nor fromSrc was given")
    credentials = call.header_document("x-registry-auth")

    def pull(tell: Tell) -> None:
        engine.images.pull(
            name,
            tag,
            platform=call.text("platform"),
            credentials=credentials,
            progress=lambda progress: tell(shown(progress)),
        )

    return streamed(pull)


def _import(engine: Needs, call: Call) -> Stream:
    reference = call.text("repo")
    if reference and call.text("tag"):
        reference += ":" + call.text("tag")
    url = call.text("fromSrc")
    made = engine.images.import_tree(
        call.body.read if url == "-" else url,
        reference=reference,
        message=call.text("message") or f"Imported from {url}",
        changes=tuple(call.texts("changes")),
        platform=call.text("platform"),
    )
    return Stream(pieces=(encode(one) for one in ({"status": made.id},)))


def push(engine: Needs, call: Call) -> Stream:
    name, tag = call.names["name"], call.text("tag")
    credentials = call.header_document("x-registry-auth")
    tags = (tag,) if tag else engine.images.all_tags(name)

    def push(tell: Tell) -> None:
        for one in tags:
            pushed = engine.images.push(
                name, one, credentials=credentials, progress=lambda progress: tell(shown(progress))
            )
            tell({"progressDetail": {}, "aux": {"Tag": one, "Digest": pushed.digest, "Size": pushed.size}})

    return streamed(push)


def load(engine: Needs, call: Call) -> Stream:
    """The archive is read before anything is answered, as clients send it before they read."""
    told: list[dict[str, Any]] = []

    def tell(progress: Any) -> None:
        one = shown(progress)
        if one["status"].startswith("Loaded image"):
            one = {"stream": one["status"] + "\n"}
        if "stream" in one or not call.is_set("quiet"):
            told.append(one)

    engine.images.load(call.body.read, tell)
    return Stream(pieces=map(encode, told))


def save(engine: Needs, call: Call) -> Stream:
    names = tuple(call.texts("names")) or ((call.names["name"],) if "name" in call.names else ())
    if not names:
        raise PyruncError(INVALID, "no image was named")
    return piped(lambda sink: engine.images.save(names, sink, call.text("platform")), _TAR_TYPE)


def piped(write: Callable[[Callable[[bytes], object]], None], kind: str) -> Stream:
    """What `write` writes, as it is read: it waits for a reader that is slow. Raises what it begins with."""
    queue: Queue[bytes | PyruncError | None] = Queue(_QUEUED_PIECES)
    is_over = threading.Event()

    def sink(data: bytes) -> None:
        if is_over.is_set():
            raise BrokenPipeError("the client is gone")
        queue.put(bytes(data))

    def run() -> None:
        try:
            write(sink)
            queue.put(None)
        except PyruncError as error:
            queue.put(error)
        except OSError as error:
            queue.put(PyruncError(INVALID, str(error)))

    threading.Thread(target=run, daemon=True).start()
    first = queue.get()
    if isinstance(first, PyruncError):
        raise first

    def pieces() -> Iterator[bytes]:
        try:
            piece: bytes | PyruncError | None = first
            while piece is not None:
                if isinstance(piece, PyruncError):
                    raise piece
                yield piece
                piece = queue.get()
        finally:
            is_over.set()
            while not queue.empty():
                queue.get_nowait()

    return Stream(pieces=pieces(), content_type=kind)


ROUTES: tuple[Route, ...] = (
    ("POST", "/images/create", create),
    ("POST", "/images/load", load),
    ("GET", "/images/get", save),
    ("GET", "/images/{name*}/get", save),
    ("POST", "/images/{name*}/push", push),
)
