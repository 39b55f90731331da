"""/exec: further processes in a container."""

from __future__ import annotations

from pyrunc.api import bodies
from pyrunc.api.call import Empty, Json, Upgrade, frame
from pyrunc.api.status import sentence
from pyrunc.errors import PyruncError
from pyrunc.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.router import Route

    class Execs(Protocol):
        def create(self, text: str, wanted: dict[str, Any]) -> Any: ...
        def prepare(self, id: str) -> Any: ...
        def start(self, found: Any, stream: int | None, *, multiplexed: bool, detach_keys: str) -> None: ...
        def inspect(self, id: str) -> Any: ...
        def resize(self, id: str, rows: int, columns: int) -> None: ...

    class Needs(Protocol):
        execs: Execs


def create(engine: Needs, call: Call) -> Json:
    made = engine.execs.create(call.names["name"], call.document(bodies.EXEC))
    return Json(value={"Id": made.id}, status=201)


def start(engine: Needs, call: Call) -> Empty | Upgrade:
    wanted = call.document(bodies.EXEC_START)
    found = engine.execs.prepare(call.names["id"])
    if wanted.get("Detach"):
        engine.execs.start(found, None, multiplexed=False, detach_keys="")
        return Empty(status=200)
    keys = found.wanted.get("DetachKeys") or ""
    if wanted.get("ConsoleSize"):
        found.size = tuple(wanted["ConsoleSize"][:2])

    def begin(fd: int) -> None:
        """The answer is out already, so what fails is told as the command's output."""
        try:
            engine.execs.start(found, fd, multiplexed=not found.has_terminal, detach_keys=keys)
        except PyruncError as error:
            text = f"{sentence(error)}\r\n".encode()
            write_all(fd, text if found.has_terminal else frame(1, text))

    return Upgrade(begin=begin, content_type=call.stream_type(found.has_terminal))


def inspect(engine: Needs, call: Call) -> Json:
    found = engine.execs.inspect(call.names["id"])
    command = found.command
    return Json(
        value={
            "ID": found.id,
            "Running": found.is_running,
            "ExitCode": found.exit_code,
            "ProcessConfig": {
                "tty": found.has_terminal,
                "entrypoint": command[0],
                "arguments": command[1:],
                "privileged": bool(found.wanted.get("Privileged")),
                "user": found.wanted.get("User") or "",
            },
            "OpenStdin": bool(found.wanted.get("AttachStdin")),
            "OpenStdout": bool(found.wanted.get("AttachStdout")),
            "OpenStderr": bool(found.wanted.get("AttachStderr")),
            "CanRemove": found.exit_code is not None,
            "ContainerID": found.container.id,
            "DetachKeys": found.wanted.get("DetachKeys") or "",
            "Pid": found.pid,
        }
    )


def resize(engine: Needs, call: Call) -> Empty:
    engine.execs.resize(call.names["id"], call.number("h", 0) or 0, call.number("w", 0) or 0)
    return Empty(status=200)


ROUTES: tuple[Route, ...] = (
    ("POST", "/containers/{name}/exec", create),
    ("POST", "/exec/{id}/start", start),
    ("GET", "/exec/{id}/json", inspect),
    ("POST", "/exec/{id}/resize", resize),
)
