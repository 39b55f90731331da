"""/containers: what flows, attach, logs, and the size of a terminal."""

from __future__ import annotations

from pyrunc.api.call import Empty, Stream, Upgrade, frame
from pyrunc.errors import INVALID, PyruncError
from pyrunc.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.router import Route

    class Needs(Protocol):
        containers: Any
        verbs: Any
        logs: Any


def attach(engine: Needs, call: Call) -> Upgrade:
    container = engine.containers.find(call.names["name"])
    kind = call.stream_type(container.has_terminal)
    wanted = {name: call.is_set(name) for name in ("stdin", "stdout", "stderr")}
    wanted["stdin"] = wanted["stdin"] and bool(container.config["OpenStdin"])
    is_live, past = call.is_set("stream"), call.is_set("logs")
    if not is_live and not past:
        raise PyruncError(INVALID, "attach: neither stream nor logs was asked for")
    keys = call.text("detachKeys")

    def begin(fd: int) -> None:
        if past:
            for entry in engine.logs.read(container.id, stdout=wanted["stdout"], stderr=wanted["stderr"]):
                write_all(fd, entry.text if container.has_terminal else frame(entry.stream, entry.text))
        if is_live:
            engine.verbs.attach(
                container.id, fd, multiplexed=not container.has_terminal, detach_keys=keys, **wanted
            )

    return Upgrade(begin=begin, content_type=kind, done=engine.verbs.announce_attach(container.id))


def logs(engine: Needs, call: Call) -> Stream:
    container = engine.containers.find(call.names["name"])
    if not call.is_set("stdout") and not call.is_set("stderr"):
        raise PyruncError(INVALID, "Bad parameters: you must choose at least one stream")
    entries = engine.logs.read(
        container.id,
        stdout=call.is_set("stdout"),
        stderr=call.is_set("stderr"),
        tail=_tail(call.text("tail", "all")),
        since=call.text("since"),
        until=call.text("until"),
        follow=call.is_set("follow"),
        peer=call.peer,
    )
    pieces = _lines(entries, with_time=call.is_set("timestamps"), framed=not container.has_terminal)
    return Stream(pieces=pieces, content_type=call.stream_type(container.has_terminal))


def _tail(text: str) -> int:
    return int(text) if text.isdigit() else -1


def _lines(entries: Iterable[Any], *, with_time: bool, framed: bool) -> Iterator[bytes]:
    is_begin = True
    for entry in entries:
        text = entry.time.encode() + b" " + entry.text if with_time and is_begin else entry.text
        is_begin = text.endswith(b"\n")
        yield frame(entry.stream, text) if framed else text


def resize(engine: Needs, call: Call) -> Empty:
    engine.verbs.resize(call.names["name"], call.number("h", 0) or 0, call.number("w", 0) or 0)
    return Empty(status=200)


ROUTES: tuple[Route, ...] = (
    ("POST", "/containers/{name}/attach", attach),
    ("GET", "/containers/{name}/logs", logs),
    ("POST", "/containers/{name}/resize", resize),
)
