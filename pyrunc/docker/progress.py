"""What pull, push, load and import say while they work: bars on a terminal, by rich; lines elsewhere."""

from __future__ import annotations

from pyrunc.api.status import HttpError
from pyrunc.docker.output import is_terminal
from pyrunc.docker.units import human_size
from pyrunc.errors import PyruncError
from pyrunc.files import write_all
from pyrunc.thirdparty import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


_DONE = ("Already exists", "Download complete", "Pull complete", "Pushed", "Layer already exists", "Mounted")


def show_progress(
    objects: Iterable[dict[str, Any]], descriptor: int = 1, *, quiet: bool = False
) -> list[Any]:
    """Returns what was sent as `aux`. Raises PyruncError for the error that an object tells of: the answer
    has begun with 200 by then."""
    aux: list[Any] = []
    sink: Any = _Silent() if quiet else _Lines(descriptor)
    if not quiet and is_terminal(descriptor):
        try:
            sink = _Bars(descriptor)
        except PyruncError:
            pass  # without rich, lines
    with sink:
        for one in objects:
            if "error" in one or "errorDetail" in one:
                detail = one.get("errorDetail") or {}
                raise HttpError(500, str(detail.get("message") or one.get("error")))
            if "aux" in one:
                aux.append(one["aux"])
            elif "stream" in one:
                sink.say(one["stream"].rstrip("\n"))
            else:
                sink.show(one)
    return aux


class _Silent:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def show(self, one: dict[str, Any]) -> None:
        pass


class _Lines(_Silent):
    """No line for a number that grows."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, text: str) -> None:
        write_all(self._descriptor, f"{text}\n".encode())

    def show(self, one: dict[str, Any]) -> None:
        if not (one.get("progressDetail") or {}).get("current"):
            name = f"{one['id']}: " if one.get("id") else ""
            self.say(f"{name}{one.get('status', '')}")


class _Bars:
    """A line for each layer."""

    def __init__(self, descriptor: int) -> None:
        console: Any = load("rich.console", "progress bars")
        parts: Any = load("rich.progress", "progress bars")
        self._console = console.Console(stderr=descriptor == 2, highlight=False)
        self._progress = parts.Progress(
            parts.TextColumn("{task.fields[name]}"),
            parts.TextColumn("{task.description}"),
            parts.BarColumn(bar_width=30),
            parts.TextColumn("{task.fields[amount]}"),
            console=self._console,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def show(self, one: dict[str, Any]) -> None:
        name, status = one.get("id"), one.get("status", "")
        if not name or ("progressDetail" not in one and name not in self._tasks):
            self.say(f"{name}: {status}" if name else status)
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(status, total=None, name=name, amount="")
        self._progress.update(self._tasks[name], description=status, **_measure(one))


def _measure(one: dict[str, Any]) -> dict[str, Any]:
    """How long the bar is, and what is written behind it. One that has begun has no length yet, one of which
    no more is to come is full."""
    detail = one.get("progressDetail") or {}
    if "current" not in detail:
        is_done = one.get("status", "").startswith(_DONE)
        return {"completed": 1, "total": 1, "amount": ""} if is_done else {}
    total = detail.get("total")
    amount = (
        f"{human_size(detail['current'])}/{human_size(total)}" if total else human_size(detail["current"])
    )
    return {"completed": detail["current"], "total": total or None, "amount": amount}
