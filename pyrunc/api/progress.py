"""Long operations whose progress is the answer: JSON objects, as they happen, and at the end perhaps an
error.

The operation runs in a thread of its own, and goes on if the client leaves: what was fetched is of use next
time. An error that comes before anything was worth telling becomes the answer's status.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue

from pyrunc import jsonio
from pyrunc.api.call import Stream
from pyrunc.api.server import bug
from pyrunc.api.status import code_of, sentence
from pyrunc.errors import PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    Tell: TypeAlias = Callable[[dict[str, Any]], None]

_SILENT = 1  # so many objects say no more than what was asked for


def streamed(operation: Callable[[Tell], None]) -> Stream:
    """`operation` gets a function that sends an object. Raises the PyruncError that it begins with."""
    queue: SimpleQueue[dict[str, Any] | PyruncError | None] = SimpleQueue()

    def run() -> None:
        try:
            operation(queue.put)
            queue.put(None)
        except PyruncError as error:
            queue.put(error)
        except Exception as error:
            queue.put(bug(error))

    threading.Thread(target=run, daemon=True).start()
    begun: list[dict[str, Any] | None] = []
    while len(begun) <= _SILENT:
        one = queue.get()
        if isinstance(one, PyruncError):
            raise one
        begun.append(one)
        if one is None:
            break
    return Stream(pieces=_pieces(begun, queue))


def _pieces(
    begun: list[dict[str, Any] | None], queue: SimpleQueue[dict[str, Any] | PyruncError | None]
) -> Iterator[bytes]:
    for one in begun:
        if one is None:
            return
        yield encode(one)
    while (item := queue.get()) is not None:
        if isinstance(item, PyruncError):
            text = sentence(item)
            yield encode({"errorDetail": {"code": code_of(item), "message": text}, "error": text})
            return
        yield encode(item)


def encode(document: dict[str, Any]) -> bytes:
    return jsonio.dumps(document).encode("utf-8", "replace") + b"\r\n"


def shown(progress: Any) -> dict[str, Any]:
    """What the image layer tells, in Docker's shape."""
    made: dict[str, Any] = {"status": progress.status}
    if progress.id:
        made["id"] = progress.id
        made["progressDetail"] = {}
    if progress.current or progress.total:
        made["progressDetail"] = {"current": progress.current, "total": progress.total}
    return made
