"""A task: containerd's word for a container that has, or had, a process; and the processes that Exec adds.

What they are is kept here, what is done to them is asked of the runtime. An end that comes before the
beginning was told (a program that is quick) waits for it: containerd hears of both in their order.
"""

from __future__ import annotations

from pyrunc import jsonio, log
from pyrunc.errors import INVALID, NOT_FOUND, WRONG_STATE, PyruncError, describe_errno, doing
from pyrunc.files import read_whole, write_atomically
from pyrunc.shim.containerd import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.shim.containerd.options import Options
    from pyrunc.shim.containerd.server import Call
    from pyrunc.shim.containerd.streams import StreamSet, Wanted
    from pyrunc.shim.loop import Loop, Timer
    from pyrunc.shim.oci_runtime import Door
    from pyrunc.shim.oom import Oom
    from pyrunc.shim.reaper import Child

_PATIENCE_SECONDS = 60.0


class Process:
    """`exec_id` is empty for the container's init. `status`: of messages. `is_busy`: the runtime is about to
    start it, or to take it away."""

    def __init__(self, exec_id: str, wanted: Wanted, streams: StreamSet) -> None:
        self.exec_id, self.wanted, self.streams = exec_id, wanted, streams
        self.status = messages.CREATED
        self.pid = self.exit_status = self.exited_ns = 0
        self.is_busy = False
        self.child: Child | None = None
        self.spec: bytes = b""  # of an exec: the process object
        self._waiting: list[Call] = []
        self._then: list[Callable[[], object]] = []

    def wait(self, call: Call) -> None:
        """Answered when it has ended, at once if it has."""
        self._waiting.append(call)
        if self.status == messages.STOPPED:
            self._tell()

    def when_ended(self, then: Callable[[], object]) -> None:
        self._then.append(then)
        if self.status == messages.STOPPED:
            self._tell()

    def end(self, exit_status: int, now_ns: int) -> None:
        self.status, self.exit_status, self.exited_ns = messages.STOPPED, exit_status, now_ns
        self._tell()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call.answer(self.exit())
        then, self._then = self._then, []
        for callback in then:
            callback()

    def exit(self) -> dict[str, Any]:
        """How it ended, for the answers that tell so."""
        when = messages.timestamp(self.exited_ns) if self.exited_ns else None
        return {"exit_status": self.exit_status, "exited_at": when}

    def describe(self, task: Task) -> dict[str, Any]:
        """The answer to State."""
        return {
            "id": task.id,
            "bundle": task.bundle,
            "pid": self.pid,
            "status": self.status,
            "stdin": self.wanted.stdin,
            "stdout": self.wanted.stdout,
            "stderr": self.wanted.stderr,
            "terminal": self.wanted.terminal,
            "exec_id": self.exec_id,
            **self.exit(),
        }


class Task:
    """A container and its processes. `work`: a directory for files of ours. `checkpoint`: where it is to be
    restored from, once it is started. `is_created`: the runtime has answered; `is_being_deleted`: not yet."""

    def __init__(self, id: str, bundle: str, work: str, options: Options, door: Door, init: Process) -> None:
        self.id, self.bundle, self.work = id, bundle, work
        self.options, self.door, self.init = options, door, init
        self.checkpoint = ""
        self.rootfs: tuple[dict[str, Any], ...] = ()
        self.is_created = self.is_being_deleted = False
        self.execs: dict[str, Process] = {}
        self.oom: Oom | None = None
        self.has_own_pids = _has_own_pids(bundle)

    def find(self, exec_id: str) -> Process:
        """Raises PyruncError NOT_FOUND."""
        if not exec_id:
            return self.init
        process = self.execs.get(exec_id)
        if process is None:
            raise PyruncError(NOT_FOUND, "process does not exist", exec_id)
        return process

    def require_created(self) -> None:
        """Raises PyruncError while the runtime is still at it."""
        if not self.is_created:
            raise PyruncError(WRONG_STATE, "container is being created", self.id)

    def require_running(self, verb: str) -> None:
        self.require_created()
        if self.init.status not in (messages.RUNNING, messages.PAUSED):
            raise PyruncError(WRONG_STATE, f"cannot {verb} a container that is not running", self.id)


class Tasks:
    """All of a shim's, by their ids. `abandoned()` is called when there has been none for a while: a client
    of containerd's that goes away in the middle of a Delete takes the Shutdown with it that would follow."""

    def __init__(
        self, loop: Loop, abandoned: Callable[[], object], patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        self._loop, self._abandoned, self._patience_seconds = loop, abandoned, patience_seconds
        self._tasks: dict[str, Task] = {}
        self._later: dict[str, list[Callable[[], object]]] = {}
        self._patience: Timer = loop.after(patience_seconds, abandoned)

    def __len__(self) -> int:
        return len(self._tasks)

    def get(self, id: str) -> Task | None:
        return self._tasks.get(id)

    def find(self, id: str) -> Task:
        """Raises PyruncError NOT_FOUND."""
        task = self._tasks.get(id)
        if task is None:
            raise PyruncError(NOT_FOUND, "container not created", id)
        return task

    def add(self, task: Task) -> None:
        self._patience.cancel()
        self._tasks[task.id] = task

    def remove(self, task: Task) -> None:
        del self._tasks[task.id]
        if not self._tasks:
            self._patience = self._loop.after(self._patience_seconds, self._abandoned)

    def when_settled(self, id: str, then: Callable[[], object]) -> None:
        """Call it when what is under way with the task, its making or its end, has come out or failed."""
        self._later.setdefault(id, []).append(then)

    def settle(self, id: str) -> None:
        """It has; the task may be gone."""
        for then in self._later.pop(id, ()):
            then()


def write_init_pid(task: Task) -> None:
    """For a `delete` after our death, which tells containerd whose end it is."""
    try:
        write_atomically(f"{task.bundle}/init.pid", str(task.init.pid).encode())
    except OSError as error:
        log.warning(f"cannot write init.pid: {describe_errno(error.errno or 0)}")


def undo_all(undo: list[Callable[[], object]]) -> None:
    """From the last to the first. What can't be undone keeps neither the rest from it, nor who asked from an
    answer."""
    while undo:
        try:
            undo.pop()()
        except (OSError, PyruncError) as error:
            log.error(f"cannot undo what a failed create has made: {error}")


def read_config(bundle: str) -> dict[str, Any]:
    """config.json, unjudged: that is the runtime's business. Raises PyruncError."""
    path = f"{bundle}/config.json"
    with doing("read config", path):
        data = read_whole(path)
    document = jsonio.loads(data, path)
    if type(document) is not dict:
        raise PyruncError(INVALID, "config.json is not an object", path)
    return document


def _has_own_pids(bundle: str) -> bool:
    """With the end of init all others end, too: else we have to see to that."""
    linux = read_config(bundle).get("linux")
    namespaces = linux.get("namespaces") if type(linux) is dict else None
    return type(namespaces) is list and any(
        type(item) is dict and item.get("type") == "pid" and not item.get("path") for item in namespaces
    )
