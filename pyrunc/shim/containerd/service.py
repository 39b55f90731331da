"""The Task service: what containerd asks of a shim, a method each, and what comes of it.

A method returns at once and answers when the runtime has: one container's slow hook keeps no other waiting.
Sentences and codes are those of containerd's own shim wherever a client could tell the difference.
"""

from __future__ import annotations

import posix
from time import time_ns

from pyrunc import __version__, jsonio, log
from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, UNSUPPORTED, WRONG_STATE, PyruncError, doing
from pyrunc.files import absolute, remove_tree, write_atomically
from pyrunc.shim.containerd import messages, rootfs
from pyrunc.shim.containerd.checkpoint import checkpoint_words, restore_words
from pyrunc.shim.containerd.metrics import is_cgroup2, make_metrics
from pyrunc.shim.containerd.options import FILE as OPTIONS_FILE
from pyrunc.shim.containerd.options import Options, parse_options, settings, to_json
from pyrunc.shim.containerd.streams import Identity, StreamSet, Wanted
from pyrunc.shim.containerd.task import Process, Task, Tasks, undo_all, write_init_pid
from pyrunc.shim.oci_runtime import Door
from pyrunc.shim.oom import Oom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.shim.containerd.events import Publisher
    from pyrunc.shim.containerd.server import Call, Method
    from pyrunc.shim.loop import Loop
    from pyrunc.shim.oci_runtime import Outcome, Streams
    from pyrunc.shim.reaper import Child, Reaper

    Message = dict[str, Any]

_SIGKILL = 9
_NEVER_STARTED = 255
_LAST_SIGNAL = 64


class Service:
    """`work`: a directory for files of ours, which is the shim's alone. `stop()` ends the shim."""

    def __init__(
        self,
        loop: Loop,
        reaper: Reaper,
        publisher: Publisher,
        namespace: str,
        work: str,
        stop: Callable[[], object],
    ) -> None:
        self.loop, self.reaper, self.publisher = loop, reaper, publisher
        self.namespace, self.work, self.stop = namespace, work, stop
        self.tasks = Tasks(loop, stop)
        self._number = 0

    def methods(self) -> dict[str, Method]:
        """By their names in the protocol."""
        return {
            "Create": self.create, "Start": self.start, "State": self.state, "Delete": self.delete,
            "Pids": self.pids, "Pause": self.pause, "Resume": self.resume, "Checkpoint": self.checkpoint,
            "Kill": self.kill, "Exec": self.exec, "ResizePty": self.resize, "CloseIO": self.close_io,
            "Update": self.update, "Wait": self.wait, "Stats": self.stats, "Connect": self.connect,
            "Shutdown": self.shutdown,
        }  # fmt: skip

    def _streams(self, task_id: str, work: str, wanted: Wanted) -> StreamSet:
        self._number += 1
        identity = Identity(namespace=self.namespace, container=task_id)
        return StreamSet(self.loop, wanted, identity, f"{work}/console-{self._number}")

    # --- create -----------------------------------------------------------------------------------

    def create(self, message: Message, call: Call) -> None:
        options = parse_options(message["options"])
        if self.tasks.get(message["id"]) is not None:
            raise PyruncError(CONFLICT, "task already exists", message["id"])
        if message["parent_checkpoint"]:
            raise PyruncError(UNSUPPORTED, "restore from more than one checkpoint", "parent_checkpoint")
        undo: list[Callable[[], object]] = []

        def failed(error: PyruncError) -> None:
            undo_all(undo)
            call.fail(error, "OCI runtime create failed: ")
            self.tasks.settle(message["id"])

        try:
            task = self._make_task(message, options, undo)
            undo.append(task.init.streams.finish)
            task.init.streams.prepare(lambda streams: self._create(task, streams, call, failed), failed)
        except OSError as error:
            failed(PyruncError.from_errno(error.errno or 0, "create task", str(error.filename or "")))
        except PyruncError as error:
            failed(error)

    def _make_task(self, message: Message, options: Options, undo: list[Callable[[], object]]) -> Task:
        bundle = absolute(message["bundle"])
        self._number += 1
        work = f"{self.work}/{self._number}"
        with doing("make directory", work):
            posix.mkdir(work, 0o700)
        undo.append(lambda: remove_tree(work))
        wanted = _wanted(message, options)
        init = Process("", wanted, self._streams(message["id"], work, wanted))
        door = Door(self.loop, self.reaper, work, settings(options, self.namespace))
        task = Task(message["id"], bundle, work, options, door, init)
        self.tasks.add(task)
        undo.append(lambda: self.tasks.remove(task))
        with doing("write options", bundle):
            write_atomically(f"{bundle}/{OPTIONS_FILE}", to_json(options), 0o600)
        task.checkpoint, task.rootfs = message["checkpoint"], message["rootfs"]
        rootfs.mount(task.rootfs, f"{bundle}/rootfs")
        if task.rootfs:
            undo.append(lambda: rootfs.unmount(f"{bundle}/rootfs"))
        return task

    def _create(
        self, task: Task, streams: Streams, call: Call, failed: Callable[[PyruncError], object]
    ) -> None:
        if task.checkpoint:  # its processes are made by `start`
            self._created(task, 0, call)
            return

        def done(outcome: Outcome) -> None:
            error = _connect(task.init, outcome)
            if error is None:
                self._expect(task, task.init, outcome.pid)
                self._watch_oom(task)
                self._created(task, outcome.pid, call)
            elif outcome.pid:  # it is there, and nobody can use it
                task.door.call(("delete", "--force", task.id), lambda _deleted: failed(error))
            else:
                failed(error)

        words = ["--bundle", task.bundle]
        words += ["--no-pivot"] if task.options.no_pivot_root else []
        words += ["--no-new-keyring"] if task.options.no_new_keyring else []
        task.door.create(tuple(words), task.id, streams, done)

    def _created(self, task: Task, pid: int, call: Call) -> None:
        task.is_created = True
        wanted = task.init.wanted
        self.publisher.send(
            "TaskCreate", container_id=task.id, bundle=task.bundle, rootfs=task.rootfs,
            io={"stdin": wanted.stdin, "stdout": wanted.stdout, "stderr": wanted.stderr,
                "terminal": wanted.terminal},
            checkpoint=task.checkpoint, pid=pid,
        )  # fmt: skip
        call.answer({"pid": pid})
        self.tasks.settle(task.id)

    def _watch_oom(self, task: Task) -> None:
        try:
            task.oom = Oom(
                self.loop, task.init.pid, lambda: self.publisher.send("TaskOOM", container_id=task.id)
            )
        except (OSError, PyruncError) as error:  # it is quick, and gone; or its cgroup can't be watched
            log.warning(f"{task.id}: cannot watch for OOM: {error}")

    # --- processes begin and end ------------------------------------------------------------------

    def _expect(self, task: Task, process: Process, pid: int) -> None:
        process.pid = pid
        process.child = self.reaper.expect(pid, lambda child: self._ended(task, process, child))
        if process is task.init:
            write_init_pid(task)

    def _ended(self, task: Task, process: Process, child: Child) -> None:
        if process.is_busy:  # its start is told first
            self.loop.after(0.001, lambda: self._ended(task, process, child))
            return
        if process is task.init and not task.has_own_pids:
            words = ("kill", "--all", task.id, str(_SIGKILL))
            task.door.call(words, lambda _outcome: self._tell_end(task, process, child))
        else:
            self._tell_end(task, process, child)

    def _tell_end(self, task: Task, process: Process, child: Child) -> None:
        self.publisher.send(
            "TaskExit", container_id=task.id, id=process.exec_id or task.id, pid=process.pid,
            exit_status=child.exit_code, exited_at=messages.timestamp(child.ended_ns),
        )  # fmt: skip
        process.end(child.exit_code, child.ended_ns)

    def start(self, message: Message, call: Call) -> None:
        task = self.tasks.find(message["id"])
        task.require_created()
        process = task.find(message["exec_id"])
        if process.is_busy or process.status != messages.CREATED:
            why = "process already started" if process.status == messages.RUNNING else "process has ended"
            raise PyruncError(WRONG_STATE, "cannot start", process.exec_id or task.id, why)
        process.is_busy = True
        if process is not task.init:
            self._start_exec(task, process, call)
        elif task.checkpoint:
            self._restore(task, call)
        else:
            task.door.call(("start", task.id), lambda outcome: self._started(task, outcome.error, call))

    def _started(self, task: Task, error: PyruncError | None, call: Call) -> None:
        init = task.init
        init.is_busy = False
        if error is not None:
            call.fail(error, "OCI runtime start failed: ")
            return
        init.status = messages.RUNNING
        self.publisher.send("TaskStart", container_id=task.id, pid=init.pid)
        call.answer({"pid": init.pid})

    def _restore(self, task: Task, call: Call) -> None:
        init = task.init

        def done(outcome: Outcome) -> None:
            error = _connect(init, outcome)
            if error is not None and not outcome.pid:
                self._fail_start(init, error, call, "OCI runtime start failed: ")
                return
            self._expect(task, init, outcome.pid)
            self._watch_oom(task)
            self._started(task, error, call)

        words = restore_words(task.bundle, task.checkpoint, task.options)
        init.streams.prepare(
            lambda streams: task.door.restore(words, task.id, streams, done),
            lambda error: self._fail_start(init, error, call, "OCI runtime start failed: "),
        )

    def _fail_start(self, process: Process, error: PyruncError, call: Call, prefix: str) -> None:
        """It never was: who waits for its end is told of one."""
        process.is_busy = False
        process.streams.finish()
        process.end(_NEVER_STARTED, time_ns())
        call.fail(error, prefix)

    # --- exec -------------------------------------------------------------------------------------

    def exec(self, message: Message, call: Call) -> None:
        task = self.tasks.find(message["id"])
        task.require_created()
        name = message["exec_id"]
        if not name:
            raise PyruncError(INVALID, "an execution needs an id", task.id)
        if name in task.execs:
            raise PyruncError(CONFLICT, "execution already exists", name)
        if message["spec"] is None:
            raise PyruncError(INVALID, "an execution needs a process", name)
        document = jsonio.loads(message["spec"]["value"], "process")
        if type(document) is not dict:
            raise PyruncError(INVALID, "process is not an object", name)
        wanted = _wanted(message, task.options)
        process = Process(name, wanted, self._streams(task.id, task.work, wanted))
        document["terminal"] = wanted.terminal
        process.spec = jsonio.dumps(document).encode("utf-8", "surrogateescape")
        task.execs[name] = process
        self.publisher.send("TaskExecAdded", container_id=task.id, exec_id=name)
        call.answer()

    def _start_exec(self, task: Task, process: Process, call: Call) -> None:
        self._number += 1
        path = f"{task.work}/process-{self._number}.json"

        def failed(error: PyruncError) -> None:
            self._fail_start(process, error, call, "OCI runtime exec failed: ")

        def done(outcome: Outcome) -> None:
            posix.unlink(path)
            error = _connect(process, outcome)
            if error is not None:
                if outcome.pid:  # it is there, and nobody can use it: ours, and not reaped yet
                    posix.kill(outcome.pid, _SIGKILL)
                failed(error)
                return
            process.is_busy = False
            process.status = messages.RUNNING
            self.publisher.send(
                "TaskExecStarted", container_id=task.id, exec_id=process.exec_id, pid=outcome.pid
            )
            self._expect(task, process, outcome.pid)
            call.answer({"pid": outcome.pid})

        def ready(streams: Streams) -> None:
            write_atomically(path, process.spec, 0o600)
            task.door.exec(("--process", path), task.id, streams, done)

        try:
            task.require_running("exec in")
            process.streams.prepare(ready, failed)
        except PyruncError as error:
            failed(error)

    # --- the end of a task ------------------------------------------------------------------------

    def delete(self, message: Message, call: Call) -> None:
        """One that comes while the container is made, or deleted, waits for that. Who asks may go meanwhile,
        and containerd sees nothing to its end then: it is the last that has to be told when all is done."""
        task = self.tasks.find(message["id"])
        process = task.find(message["exec_id"])
        if process is task.init and (task.is_being_deleted or not task.is_created):
            self.tasks.when_settled(task.id, lambda: call.carry_out(self.delete, message))
            return
        if process.is_busy or process.status in (messages.RUNNING, messages.PAUSED):
            raise PyruncError(WRONG_STATE, "cannot delete a running process", process.exec_id or task.id)
        if process is not task.init:
            del task.execs[process.exec_id]
            process.streams.finish()
            call.answer({"pid": process.pid, **process.exit()})
            return
        process.is_busy = task.is_being_deleted = True
        words = ("delete", "--force", task.id)  # it has ended, or never began; or was half deleted before
        task.door.call(words, lambda outcome: self._deleted(task, outcome, call))

    def _deleted(self, task: Task, outcome: Outcome, call: Call) -> None:
        init = task.init
        init.is_busy = False
        # A checkpoint has taken it away already; or somebody has, by the runtime's own command line
        if outcome.error is not None and outcome.error.kind != NOT_FOUND:
            self._not_deleted(task, outcome.error, call, "OCI runtime delete failed: ")
            return
        if init.child is None and init.status != messages.STOPPED:
            init.end(_NEVER_STARTED, time_ns())  # it was to be restored
        init.when_ended(lambda: self._forget(task, call))

    def _not_deleted(self, task: Task, error: PyruncError, call: Call, prefix: str = "") -> None:
        task.is_being_deleted = False
        call.fail(error, prefix)
        self.tasks.settle(task.id)

    def _forget(self, task: Task, call: Call) -> None:
        init = task.init
        for process in (init, *task.execs.values()):
            process.streams.finish()
        if task.oom is not None:
            task.oom.close()
        try:
            rootfs.unmount(f"{task.bundle}/rootfs")
        except PyruncError as error:
            self._not_deleted(task, error, call)
            return
        self.tasks.remove(task)
        remove_tree(task.work)
        self.publisher.send("TaskDelete", container_id=task.id, pid=init.pid, **init.exit())
        call.answer({"pid": init.pid, **init.exit()})
        self.tasks.settle(task.id)

    def shutdown(self, message: Message, call: Call) -> None:
        """Only when no container is left, for others of the pod may be here; or now."""
        call.answer()
        if message["now"] or not self.tasks:
            self.stop()

    # --- what is done to a task -------------------------------------------------------------------

    def kill(self, message: Message, call: Call) -> None:
        task = self.tasks.find(message["id"])
        process = task.find(message["exec_id"])
        number = message["signal"]
        if not 0 < number <= _LAST_SIGNAL:
            raise PyruncError(INVALID, "invalid signal", str(number))
        if process.child is None:
            raise PyruncError(NOT_FOUND, "process not started", process.exec_id or task.id)
        if process is not task.init:
            self._signal(process, number, call)
            return
        if process.status == messages.STOPPED and not message["all"]:
            raise PyruncError(NOT_FOUND, "process already finished", task.id)
        every = ("--all",) if message["all"] else ()

        def done(outcome: Outcome) -> None:
            error = outcome.error
            if error is not None and error.kind in (WRONG_STATE, NOT_FOUND):
                error = PyruncError(NOT_FOUND, "process already finished", task.id)
            _answer(call, error)

        task.door.call(("kill", *every, task.id, str(number)), done)

    def _signal(self, process: Process, number: int, call: Call) -> None:
        """An exec is our own child; a runtime has no word for it."""
        assert process.child is not None
        try:
            process.child.signal(number)
        except ProcessLookupError:
            raise PyruncError(NOT_FOUND, "process already finished", process.exec_id) from None
        call.answer()

    def pause(self, message: Message, call: Call) -> None:
        self._freeze(message, call, "pause", messages.PAUSED, "TaskPaused")

    def resume(self, message: Message, call: Call) -> None:
        self._freeze(message, call, "resume", messages.RUNNING, "TaskResumed")

    def _freeze(self, message: Message, call: Call, verb: str, status: int, event: str) -> None:
        task = self.tasks.find(message["id"])
        task.require_running(verb)

        def done(outcome: Outcome) -> None:
            if outcome.error is None and task.init.status != messages.STOPPED:
                task.init.status = status
                self.publisher.send(event, container_id=task.id)
            _answer(call, outcome.error)

        task.door.call((verb, task.id), done)

    def update(self, message: Message, call: Call) -> None:
        task = self.tasks.find(message["id"])
        task.require_created()
        resources = message["resources"]
        data = b"{}" if resources is None else resources["value"]
        words = ("update", "--resources", "-", task.id)
        task.door.call(words, lambda outcome: _answer(call, outcome.error), data)

    def checkpoint(self, message: Message, call: Call) -> None:
        task = self.tasks.find(message["id"])
        task.require_running("checkpoint")
        words = checkpoint_words(message["options"], message["path"], task.options)

        def done(outcome: Outcome) -> None:
            if outcome.error is None:
                self.publisher.send("TaskCheckpointed", container_id=task.id, checkpoint=message["path"])
            _answer(call, outcome.error)

        task.door.call((*words, task.id), done)

    def resize(self, message: Message, call: Call) -> None:
        process = self.tasks.find(message["id"]).find(message["exec_id"])
        process.streams.resize(rows=message["height"], columns=message["width"])
        call.answer()

    def close_io(self, message: Message, call: Call) -> None:
        process = self.tasks.find(message["id"]).find(message["exec_id"])
        if message["stdin"]:
            process.streams.close_stdin()
        call.answer()

    # --- what is asked about a task ---------------------------------------------------------------

    def state(self, message: Message, call: Call) -> None:
        task = self.tasks.find(message["id"])
        call.answer(task.find(message["exec_id"]).describe(task))

    def wait(self, message: Message, call: Call) -> None:
        self.tasks.find(message["id"]).find(message["exec_id"]).wait(call)

    def connect(self, message: Message, call: Call) -> None:
        task = self.tasks.get(message["id"])
        pid = task.init.pid if task is not None else 0
        call.answer({"shim_pid": posix.getpid(), "task_pid": pid, "version": __version__})

    def pids(self, message: Message, call: Call) -> None:
        task = self.tasks.find(message["id"])
        task.require_created()

        def done(outcome: Outcome) -> None:
            if outcome.error is not None:
                call.fail(outcome.error)
                return
            execs = {process.pid: process.exec_id for process in task.execs.values() if process.pid}
            call.answer(
                {"processes": tuple(messages.process_info(pid, execs.get(pid)) for pid in outcome.document())}
            )

        task.door.call(("ps", "--format", "json", task.id), done)

    def stats(self, message: Message, call: Call) -> None:
        task = self.tasks.find(message["id"])
        task.require_running("measure")

        def done(outcome: Outcome) -> None:
            if outcome.error is not None:
                call.fail(outcome.error)
                return
            data = outcome.document().get("data") or {}
            call.answer({"stats": make_metrics(data, is_v2=is_cgroup2())})

        task.door.call(("events", "--stats", task.id), done)


def _wanted(message: Message, options: Options) -> Wanted:
    given = {name: message[name] for name in ("stdin", "stdout", "stderr", "terminal")}
    return Wanted(owner=(options.io_uid, options.io_gid), **given)


def _answer(call: Call, error: PyruncError | None) -> None:
    if error is None:
        call.answer()
    else:
        call.fail(error)


def _connect(process: Process, outcome: Outcome) -> PyruncError | None:
    """Of a runtime that has answered: why the process can't be used, if it can't."""
    if outcome.error is not None:
        return outcome.error
    try:
        process.streams.connect()
    except PyruncError as error:
        return error
    return None
