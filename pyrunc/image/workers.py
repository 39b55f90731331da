"""Worker processes as their employer sees them: a few, started when they are needed, each for one at a
time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager

from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.image.tasks import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyrunc.image.options import Limits

_ROOT = __file__.rsplit("/", 3)[0]
_PROGRAM = f"import sys; sys.path.insert(0, {_ROOT!r}); from pyrunc.image.worker import main; main()"


class Feed:
    """How much of a blob is there, told by who fetches it to who unpacks it."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._available = 0
        self._complete = self._failed = False
        self._listener: Callable[[int, bool], None] | None = None

    def advance(self, available: int, *, complete: bool = False) -> None:
        with self._lock:
            self._available, self._complete = available, complete
            if self._listener:
                self._listener(available, complete)
            self._lock.notify_all()

    def fail(self) -> None:
        """There won't be more: whoever waits has to give up."""
        with self._lock:
            self._failed = True
            if self._listener:
                self._listener(-1, False)
            self._lock.notify_all()

    @property
    def is_failed(self) -> bool:
        return self._failed

    def wait_for_some(self) -> None:
        """Raises Cancelled if the transfer failed, which says so itself."""
        with self._lock:
            self._lock.wait_for(lambda: self._available or self._complete or self._failed)
            if self._failed:
                raise Cancelled

    @contextmanager
    def listening(
        self, begin: Callable[[int, bool], None], listener: Callable[[int, bool], None]
    ) -> Iterator[None]:
        """`begin` is told what is there, then `listener` of all that comes, with -1 that nothing will."""
        with self._lock:
            if self._failed:
                raise Cancelled
            begin(self._available, self._complete)
            self._listener = listener
        try:
            yield
        finally:
            with self._lock:
                self._listener = None


class Worker:
    """One process. After an error it is gone."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.is_alive = True

    def _send(self, message: dict[str, Any]) -> None:
        """A worker that has gone says why on its other end."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            pass

    def _answer(self, progress: Callable[[int], None]) -> dict[str, Any]:
        assert self._process.stdout
        data = b""
        while True:
            more = self._process.stdout.read(1 << 16)
            if not more:
                self.end()
                raise PyruncError(INTERNAL, "the unpacking process ended without an answer")
            data += more
            while b"\n" in data:
                line, _, data = data.partition(b"\n")
                message = json.loads(line)
                if "read" in message:
                    progress(int(message["read"]))
                elif "error" in message:
                    self.end()
                    raise PyruncError(**message["error"])
                else:
                    found: dict[str, Any] = message["result"]
                    return found

    def unpack(
        self,
        places: tuple[str, ...],
        feed: Feed,
        target: str,
        *,
        whiteouts: str,
        algorithm: str,
        limits: Limits,
        progress: Callable[[int], None],
    ) -> dict[str, Any]:
        """See worker.unpack. Raises what it raises."""

        def more(available: int, complete: bool) -> None:
            if available < 0:
                self._process.kill()
            else:
                self._send({"available": available, "complete": complete})

        order = {
            "do": "unpack",
            "places": places,
            "target": target,
            "whiteouts": whiteouts,
            "algorithm": algorithm,
            "limit_bytes": limits.layer_bytes,
            "limit_entries": limits.layer_entries,
            "ratio": limits.ratio,
        }

        def begin(available: int, complete: bool) -> None:
            self._send({**order, "available": available, "complete": complete})

        with feed.listening(begin, more):
            try:
                return self._answer(progress)
            except PyruncError:
                if feed.is_failed:
                    raise Cancelled from None
                raise

    def amend(self, target: str, lower: tuple[str, ...], links: list[Any], implicit: list[str]) -> None:
        self._send({"do": "amend", "target": target, "lower": lower, "links": links, "implicit": implicit})
        self._answer(lambda read: None)

    def end(self) -> None:
        if self.is_alive:
            self.is_alive = False
            assert self._process.stdin and self._process.stdout
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.kill()
            self._process.wait()


class Workers:
    """At most `most` at a time. Use it as a context: afterwards all have ended."""

    def __init__(self, most: int) -> None:
        self._free: list[Worker] = []
        self._all: list[Worker] = []
        self._lock = threading.Lock()
        self._room = threading.Semaphore(most)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.end()

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        with self._room:
            with self._lock:
                worker = self._free.pop() if self._free else None
            if worker is None:
                worker = Worker()
                with self._lock:
                    self._all.append(worker)
            try:
                yield worker
            finally:
                if worker.is_alive:
                    with self._lock:
                        self._free.append(worker)
