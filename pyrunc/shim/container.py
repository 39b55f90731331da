"""The container of a shim, over all its lives: created, started, watched, ended, begun anew or not.

creating ─ created ─ running ⇄ paused
                        │ its init has ended, its last words are in the log
                        ├─ a restart is due: restarting ─ (deleted, created, started) ─ running
                        └─ stopped: whoever waits is told, the exit command runs, the shim ends
"""

from __future__ import annotations

from time import monotonic, time_ns

from pyrunc.errors import WRONG_STATE, PyruncError
from pyrunc.files import write_atomically
from pyrunc.kernel.procfs import read_stat
from pyrunc.kernel.signals import parse_signal
from pyrunc.oci.state import format_time
from pyrunc.shim import protocol, restart
from pyrunc.shim.attach import Hub
from pyrunc.shim.execution import Execution, Tools
from pyrunc.shim.health import OUTPUT_BYTES, UNHEALTHY, Health, Monitor
from pyrunc.shim.logs import Log
from pyrunc.shim.oci_runtime import Outcome
from pyrunc.shim.oom import Oom
from pyrunc.shim.protocol import CREATED, CREATING, PAUSED, RESTARTING, RUNNING, STOPPED
from pyrunc.shim.settings import Settings
from pyrunc.shim.streams import ProcessStreams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from pyrunc.shim.loop import Timer
    from pyrunc.shim.reaper import Child

    Told: TypeAlias = Callable[[PyruncError | None], object]

_SIGKILL = 9
_NOT_STARTED_CODE = 128  # Docker's, for a container whose program could not be executed
_FAILURE_CODES = ((("executable file not found", "no such file"), 127), (("permission denied",), 126))
_SAVE_AGAIN_SECONDS = 5.0


class Container:
    """`publish(event, more)` tells the clients; `finished()` when nothing is left to do."""

    def __init__(
        self,
        tools: Tools,
        settings: Settings,
        publish: Callable[[str, dict[str, Any]], object],
        finished: Callable[[], object],
    ) -> None:
        self.tools, self.settings, self.policy = tools, settings, settings.restart
        self._publish, self._finished = publish, finished
        self.status: dict[str, Any] = {
            "id": settings.id, "status": CREATING, "pid": 0, "start_time": 0, "started_at": "",
            "finished_at": "", "exit_code": 0, "oom_killed": False, "error": "", "restart_count": 0,
            "health": Health().document() if settings.health else None, "log_lost_lines": 0, "log_error": "",
        }  # fmt: skip
        self.log = Log(settings.log, self._tell_lost)
        self.hub = Hub(tools.loop, stdin_once=settings.stdin_once, told=lambda event: self.tell(event))
        self.child: Child | None = None
        self.streams: ProcessStreams | None = None
        self._stop_signal = parse_signal(settings.stop_signal)
        self._oom: Oom | None = None
        self._monitor: Monitor | None = None
        self._timer: Timer | None = None
        self._save_timer: Timer | None = None
        self._began = 0.0
        self._delay = 0.0
        self._is_stopped_by_hand = False
        self._restarts_by_hand = False
        self._did_not_start = False  # `exit_code` says why: the end of its process has nothing to add
        self._start_in_flight = self._is_created_anew = False
        self._ended_early: Child | None = None
        self._ending: list[Told] = []  # to be told of the next end, restart or not
        self._starting: list[Told] = []  # to be told of the next start
        self._waiting: list[Callable[[int], object]] = []  # to be told of the last end

    # --- what is known ----------------------------------------------------------------------------

    def tell(self, event: str, **changes: Any) -> None:
        """Something has happened: on disk first, then to whoever listens."""
        self.status.update(changes)
        self._note_log()
        self.save()
        self._publish(event, {})

    def save(self) -> None:
        """A full disk keeps no container from running: it is tried again."""
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None
        try:
            path = f"{self.tools.directory}/{protocol.STATUS_FILE}"
            write_atomically(path, protocol.encode(self.status), 0o600)
        except OSError:
            self._save_timer = self.tools.loop.after(_SAVE_AGAIN_SECONDS, self.save)

    def _note_log(self) -> None:
        self.status.update(log_lost_lines=self.log.lost_lines, log_error=self.log.error)

    def _tell_lost(self) -> None:
        self.tools.loop.after(0, lambda: self.tell("log_error"))

    @property
    def is_alive(self) -> bool:
        return self.child is not None

    @property
    def is_busy(self) -> bool:
        """It lives, or is about to: who wants its end has to wait for it."""
        return self.is_alive or self._is_created_anew

    def require(self, *allowed: str) -> None:
        """Raises PyruncError WRONG_STATE."""
        status = self.status["status"]
        if status not in allowed:
            words = f"the container is {status}, not {' or '.join(allowed)}"
            raise PyruncError(WRONG_STATE, words, self.settings.id)

    # --- its beginning ----------------------------------------------------------------------------

    def create(self, told: Told) -> None:
        settings = self.settings
        self.streams = ProcessStreams(
            self.tools.loop,
            f"{self.tools.directory}/console.sock",
            terminal=settings.terminal,
            open_stdin=settings.open_stdin,
            deliver=self._deliver,
            drained=self.hub.continue_input,
        )
        init = ("--init",) if settings.init else ()
        options = ("--bundle", settings.bundle, *settings.create_options, *init)
        self.tools.door.create(
            options, settings.id, self.streams.given, lambda outcome: self._take_init(outcome, told)
        )

    def _take_init(self, outcome: Outcome, told: Told) -> None:
        assert self.streams is not None
        if outcome.error is not None:
            self.streams.close()
            self.streams = None
            told(outcome.error)
            return
        self.child = self.tools.reaper.expect(outcome.pid, self._end)
        stat = read_stat(outcome.pid)
        self._oom = Oom(self.tools.loop, outcome.pid, lambda: self.tell("oom"))
        self.tell("created", status=CREATED, pid=outcome.pid, start_time=stat.start_time if stat else 0)
        try:
            self.streams.begin()
        except PyruncError as error:
            self.signal(_SIGKILL)
            told(error)
            return
        self.hub.serve(self.streams)
        told(None)

    def start(self, told: Told) -> None:
        """Raises PyruncError WRONG_STATE."""
        self.require(CREATED)
        self._starting.append(told)
        self._start_in_flight = True
        self.tools.door.call(("start", self.settings.id), self._note_start)

    def _note_start(self, outcome: Outcome) -> None:
        told, self._starting = self._starting, []
        self._start_in_flight = False
        if outcome.error is not None:
            self.status.update(error=str(outcome.error), exit_code=code_of(outcome.error))
            self._is_stopped_by_hand = self._did_not_start = True
            self.signal(_SIGKILL)
        else:
            self._began, self._did_not_start = monotonic(), False
            ended = self._ended_early
            began_ns = time_ns() if ended is None else min(time_ns(), ended.ended_ns)
            changes: dict[str, Any] = {"started_at": format_time(began_ns), "error": "", "finished_at": ""}
            if self.settings.health is not None and self._ended_early is None:
                self._monitor = Monitor(
                    self.tools.loop, self.settings.health, self._run_check, self._judge_health
                )
                changes["health"] = self._monitor.health.document()
            changes.update(status=RUNNING, exit_code=0, oom_killed=False)
            self.tell("start", **changes)
        for item in told:
            item(outcome.error)
        if self._ended_early is not None:
            child, self._ended_early = self._ended_early, None
            self._end(child)

    def _deliver(self, stream: int, data: bytes) -> None:
        self.log.write(stream, data)
        self.hub.deliver(stream, data)

    # --- its end ----------------------------------------------------------------------------------

    def _end(self, child: Child) -> None:
        if self._start_in_flight:  # first the start is told, then the end
            self._ended_early = child
            return
        assert self.streams is not None
        self.child = None
        if self._monitor is not None:
            self._monitor.stop()
            self._monitor = None
        self.streams.finish(lambda: self._note_end(child))

    def _note_end(self, child: Child) -> None:
        was_killed = False
        if self._oom is not None:
            was_killed = self._oom.was_killed()
            self._oom.close()
            self._oom = None
        self.streams = None
        self.hub.end()
        self.log.end()
        had_no_life = self._did_not_start or (
            self.status["status"] == CREATED and self.status["finished_at"] != ""
        )  # it was not executed, or was to be stopped before: what was told last stays
        code = self.status["exit_code"] if had_no_life else child.exit_code
        self.status.update(
            pid=0,
            start_time=0,
            exit_code=code,
            oom_killed=was_killed,
            finished_at=format_time(child.ended_ns),
        )
        is_due = self._restarts_by_hand or restart.is_due(
            self.policy,
            exit_code=code,
            restarts=self.status["restart_count"],
            stopped_by_hand=self._is_stopped_by_hand,
        )
        self._note_log()
        self.status["status"] = RESTARTING if is_due else STOPPED
        self.save()
        self._publish("exit", {"exit_code": code})
        told, self._ending = self._ending, []
        for item in told:
            item(None)
        if is_due:
            self._begin_anew()
        else:
            self._finish()

    def _finish(self) -> None:
        self.log.close()
        told, self._waiting = self._waiting, []
        for item in told:
            item(self.status["exit_code"])
        self._finished()

    def _begin_anew(self) -> None:
        if self._restarts_by_hand:
            self._restarts_by_hand, self._delay = False, 0.0
            self._is_stopped_by_hand = False
            self._create_anew()
            return
        self._delay = restart.next_delay(self._delay, monotonic() - self._began)
        self._timer = self.tools.loop.after(self._delay, self._restart)

    def _restart(self) -> None:
        self._timer = None
        self.status["restart_count"] += 1
        self.tell("restart")
        self._create_anew()

    def _create_anew(self) -> None:
        """What the runtime keeps of the life before goes first. If it doesn't come up, that was the end."""

        def created(error: PyruncError | None) -> None:
            self._is_created_anew = False
            if error is not None:
                self._give_up(error)
            elif self._is_stopped_by_hand:  # meanwhile
                self.signal(_SIGKILL)
            elif self.is_alive and self.status["status"] == CREATED:
                self.start(lambda _error: None)

        def deleted(outcome: Outcome) -> None:
            if outcome.error is not None:
                self._is_created_anew = False
                self._give_up(outcome.error)
            else:
                self.create(created)

        self._is_created_anew = True
        self.tools.door.call(("delete", "--force", self.settings.id), deleted)

    def _give_up(self, error: PyruncError) -> None:
        self.status.update(error=str(error), exit_code=code_of(error), status=STOPPED)
        self._did_not_start = True
        for told in (self._starting, self._ending):
            for item in told:
                item(error)
            told.clear()
        if self.is_alive:
            return  # its end is to come, and is noted then
        self.tell("exit")
        self._finish()

    # --- what may be asked of it ------------------------------------------------------------------

    def wait(self, told: Callable[[int], object]) -> None:
        """The exit code of the last end."""
        if self.status["status"] == STOPPED:
            told(self.status["exit_code"])
        else:
            self._waiting.append(told)

    def signal(self, number: int) -> None:
        """To the init itself; nothing if it has ended."""
        try:
            if self.child is not None:
                self.child.signal(number)
        except ProcessLookupError:
            pass

    def kill(self, number: int, everyone: bool, told: Told) -> None:
        """By the runtime. A signal that is meant to end it is a stop by hand."""
        if number in (_SIGKILL, self._stop_signal):
            self.stop_restarting()
        words = ("kill", *(("--all",) if everyone else ()), self.settings.id, str(number))

        def killed(outcome: Outcome) -> None:
            if outcome.error is None:
                self._publish("kill", {"signal": number})
            told(outcome.error)

        self.tools.door.call(words, killed)

    def stop_restarting(self) -> None:
        """No restart follows this life; one that is waited for doesn't come."""
        self._is_stopped_by_hand = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.tell("exit", status=STOPPED)
            self._finish()

    def stop(self, number: int | None, timeout_seconds: float | None, told: Told) -> None:
        """The stop signal, and KILL after a time (negative: never); `told` when it has ended."""
        self.stop_restarting()
        self._end_life(number, timeout_seconds, told)

    def restart(self, number: int | None, timeout_seconds: float | None, told: Told) -> None:
        """`told` when it runs again. No life is counted for that, and none waited for."""
        if self.status["status"] == STOPPED:
            raise PyruncError(WRONG_STATE, "the container has stopped, and its shim is about to end")
        self._starting.append(told)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._create_anew()
        if self._is_created_anew:
            return
        self._restarts_by_hand = True
        self._end_life(number, timeout_seconds, lambda _error: None)

    def _end_life(self, number: int | None, timeout_seconds: float | None, told: Told) -> None:
        if not self.is_busy:
            told(None)
            return
        self._ending.append(told)
        if not self.is_alive:
            return  # it is killed as soon as it is there
        child = self.child
        if timeout_seconds is None:
            timeout_seconds = self.settings.stop_timeout_seconds

        def insist() -> None:
            if self.child is child:
                send(_SIGKILL, lambda _outcome: None)

        def signalled(outcome: Outcome) -> None:
            if outcome.error is not None:
                insist()

        def send(number: int, signalled: Callable[[Outcome], None]) -> None:
            self._publish("kill", {"signal": number})  # before the end that it brings about
            self.tools.door.call(("kill", self.settings.id, str(number)), signalled)

        if self.status["status"] == CREATED:
            number = _SIGKILL  # nothing is there yet that could end by itself
        send(self._stop_signal if number is None else number, signalled)
        if timeout_seconds >= 0:
            self.tools.loop.after(timeout_seconds, insist)

    def change(self, verb: str, told: Told) -> None:
        """pause or resume. Raises PyruncError WRONG_STATE."""
        before, after = (RUNNING, PAUSED) if verb == "pause" else (PAUSED, RUNNING)
        self.require(before)

        def changed(outcome: Outcome) -> None:
            if outcome.error is None and self.is_alive:
                self.tell(verb, status=after)
            told(outcome.error)

        self.tools.door.call((verb, self.settings.id), changed)

    # --- its health -------------------------------------------------------------------------------

    def _run_check(
        self, args: tuple[str, ...], ended: Callable[[PyruncError | None, int, bytes], object]
    ) -> Execution | None:
        if self.status["status"] != RUNNING:
            return None
        kept = bytearray()

        def keep(_stream: int, data: bytes) -> None:
            kept.extend(data[: OUTPUT_BYTES - len(kept)])

        def begun(error: PyruncError | None) -> None:
            if error is not None:
                ended(error, 0, b"")

        streams = ProcessStreams(self.tools.loop, "", terminal=False, open_stdin=False, deliver=keep)
        return Execution(
            self.tools,
            self.settings.id,
            ((), args),
            streams=streams,
            given=streams.given,
            begun=begun,
            ended=lambda code: ended(None, code, bytes(kept)),
        )

    def _judge_health(self, was: Health, now: Health) -> None:
        self.status["health"] = now.document()
        if was.status == now.status:
            self.save()
            return
        self.tell("health_status")
        if now.status == UNHEALTHY and self.settings.health is not None:
            self._act_on(self.settings.health.on_failure)

    def _act_on(self, action: str) -> None:
        """Podman's actions. A kill leaves the restart policy in force."""
        if action == "kill":
            self.tools.door.call(("kill", self.settings.id, "9"), lambda _outcome: None)
        elif action == "stop":
            self.stop(None, None, lambda _error: None)
        elif action == "restart":
            self.restart(None, None, lambda _error: None)


def code_of(error: PyruncError) -> int:
    """126 and 127 as a shell, and Docker, have them, for a program that can't be executed."""
    text = str(error)
    for words, code in _FAILURE_CODES:
        if any(word in text for word in words):
            return code
    return _NOT_STARTED_CODE
