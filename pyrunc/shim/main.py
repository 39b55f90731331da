"""The shim's process: begin, tell whoever waits for that, stay until the container has ended for good."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix
from select import POLLIN

from pyrunc import log
from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.files import read_all, write_all, write_atomically
from pyrunc.kernel import signals, syscall
from pyrunc.shim import memory, protocol, settings
from pyrunc.shim.container import Container
from pyrunc.shim.execution import Tools
from pyrunc.shim.loop import Loop
from pyrunc.shim.oci_runtime import KEPT, Door, Outcome, RuntimeSettings, keep_only, prepare
from pyrunc.shim.reaper import Child, Reaper
from pyrunc.shim.server import Server
from pyrunc.waiting import finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrunc.waiting import Work

_OOM_SCORE = "-998"  # as containerd's shims: below everything that has not asked for better
_LAST_ANSWERS_SECONDS = 0.05
_LAST_WORDS_SECONDS = 10.0


def begin(directory: str) -> settings.Settings:
    """The settings of the shim in `directory`, for a process that has done nothing yet: it may begin anew
    (oci_runtime.prepare). Raises PyruncError."""
    found = settings.load(f"{directory}/{protocol.SETTINGS_FILE}")
    prepare(runtime_settings(found))
    return found


def runtime_settings(wanted: settings.Settings) -> RuntimeSettings:
    return RuntimeSettings(
        state_root=wanted.state_root,
        program=wanted.runtime,
        cgroup_manager=wanted.cgroup_manager,
        rootless=wanted.rootless,
    )


def launch(directory: str, wanted: settings.Settings) -> None:
    """As `launching`, here and now."""
    finish(launching(directory, wanted))


def launching(directory: str, wanted: settings.Settings) -> Work[None]:
    """Leave a shim behind, a child of nobody here. Returns when its container is created, and started if it
    is to be. Raises PyruncError, what kept it from that. Given up, the shim goes on."""
    reading, writing = posix.pipe2(posix.O_CLOEXEC)
    middle, pidfd = syscall.clone3(0)  # not posix.fork: the launcher has to know of it
    if middle == 0:
        try:
            if syscall.clone3(0)[0] == 0:
                _serve(directory, wanted, writing)
        finally:
            posix._exit(0)
    posix.close(writing)
    posix.close(pidfd)
    posix.waitpid(middle, 0)
    try:
        yield reading, POLLIN, None
        answer = read_all(reading)  # it says all at once, and closes
    finally:
        posix.close(reading)
    if not answer:
        raise PyruncError(INTERNAL, "the shim ended without a word", directory)
    protocol.decode_answer(answer)


def _serve(directory: str, wanted: settings.Settings, ready: int) -> NoReturn:
    code = 1
    try:
        ready = _stand_alone(ready)
        shim = Shim(directory, wanted, ready)
        shim.run()
        code = 0
    except PyruncError as error:
        _tell(ready, protocol.encode_error(error))
    except OSError as error:
        where = str(error.filename or directory)
        _tell(ready, protocol.encode_error(PyruncError.from_errno(error.errno or 0, "begin the shim", where)))
    except Exception as error:
        _tell(ready, protocol.encode_error(PyruncError(INTERNAL, "internal error", "shim", repr(error))))
    finally:
        posix._exit(code)


def _stand_alone(ready: int) -> int:
    """A session of our own, nothing open but `ready`, no signal but those that nobody can refuse."""
    _signal.set_wakeup_fd(-1)  # who started us may have a loop as well
    posix.setsid()
    posix.chdir("/")
    posix.umask(0o022)
    for variable in (b"LISTEN_FDS", b"LISTEN_PID", b"LISTEN_FDNAMES"):  # they were for who started us
        posix.environ.pop(variable, None)
    keep_only((-1, -1, -1), ready)
    for name in ("HUP", "INT", "TERM", "QUIT", "USR1", "USR2", "ALRM"):
        _signal.signal(signals.NUMBERS[name], _signal.SIG_IGN)
    signals.unblock_all()
    return KEPT


def _tell(ready: int, message: bytes) -> None:
    """Whoever started us may be gone."""
    try:
        write_all(ready, message)
    except OSError:
        pass


class Shim:
    """All of it, put together."""

    def __init__(self, directory: str, wanted: settings.Settings, ready: int) -> None:
        self.directory, self.settings, self.ready = directory, wanted, ready
        self.loop = Loop(self._report)
        reaper = Reaper(self.loop)
        door = Door(self.loop, reaper, directory, runtime_settings(wanted), _protect())
        self.tools = Tools(loop=self.loop, reaper=reaper, door=door, directory=directory)
        self.container = Container(self.tools, wanted, self._publish, self._finish)
        self.server = Server(self.container, self._removed)
        self._failure: PyruncError | None = None
        self._has_left = self._has_withdrawn = False

    def run(self) -> None:
        write_atomically(self._pid_path, str(posix.getpid()).encode(), 0o600)
        self.container.create(self._created)
        self.loop.run()

    @property
    def _pid_path(self) -> str:
        return f"{self.directory}/{protocol.PID_FILE}"

    def _publish(self, event: str, more: dict[str, object]) -> None:
        self.server.publish(event, more)

    def _created(self, error: PyruncError | None) -> None:
        if error is not None or not self.settings.starts:
            self._answer(error)
        else:
            self.container.start(self._answer)

    def _answer(self, error: PyruncError | None) -> None:
        """The end of the beginning. If that failed, all is taken back before it is told."""
        self._failure = error
        if error is None:
            self._say(b"{}")
            self.loop.after(0, memory.settle)
        elif not self.container.is_alive:
            self._finish()

    def _say(self, message: bytes) -> None:
        _tell(self.ready, message)
        posix.close(self.ready)
        self.ready = -1

    def _finish(self) -> None:
        """The container has ended for good."""
        if self._failure is not None:
            self._take_back(self._failure)
        elif self.settings.exit_command:
            self._run_exit_command()
        else:
            self._end()

    def _take_back(self, failure: PyruncError) -> None:
        def deleted(_outcome: Outcome) -> None:
            self._say(protocol.encode_error(failure))
            self._end()

        self.tools.door.call(("delete", "--force", self.settings.id), deleted)

    def _run_exit_command(self) -> None:
        words = self.settings.exit_command

        def ended(_child: Child) -> None:
            self._end()

        try:
            pid = posix.posix_spawn(words[0], words, posix.environ)
        except OSError as error:
            self.container.tell("exit", error=f"exit command: {words[0]}: {posix.strerror(error.errno or 0)}")
            self._end()
            return
        self.tools.reaper.expect(pid, ended)

    def _end(self) -> None:
        if self.server.is_deleting:
            return  # it ends when that is done
        self.server.publish("gone", {})
        self._linger(_LAST_WORDS_SECONDS)

    def _removed(self) -> None:
        self._withdraw()
        self._end()

    def _withdraw(self) -> None:
        """Another shim may take our place in the directory, or somebody remove it, as soon as the socket is
        gone: that is the last file we touch."""
        if not self._has_withdrawn:
            self._has_withdrawn = True
            try:
                posix.unlink(self._pid_path)
            except FileNotFoundError:  # whoever began us has taken it away
                pass
            self.server.withdraw()

    def _linger(self, seconds: float) -> None:
        """Executions that ended with the container get the time to be told, and what the runtime was asked to
        do is answered: a kill may be done long after the container."""

        def look() -> None:
            is_busy = self.server.sessions or self.server.unanswered
            if self.server.is_deleting or (is_busy and seconds > 0):
                self._linger(seconds - _LAST_ANSWERS_SECONDS)
            elif not self._has_left:
                self._leave()

        self.loop.after(_LAST_ANSWERS_SECONDS, look)

    def _leave(self) -> None:
        """Nothing is to be asked here any more. What the container said last goes to its readers, however
        slow they are."""
        self._has_left = True
        self.container.log.close()
        self._withdraw()
        self.server.close()
        self.server.when_idle(self.loop.stop)

    def _report(self, error: Exception) -> None:
        """A bug of ours, or a disk that doesn't take what it should. The container goes on."""
        self.container.status["error"] = f"shim: {error!r}"
        log.error(repr(error))
        self.container.save()


def _protect() -> str:
    """The OOM killer should find others first, for without us nobody knows how the container ends. What it
    was before is what the runtime, and so the container, is given back."""
    path = "/proc/self/oom_score_adj"
    fd = posix.open(path, posix.O_RDWR | posix.O_CLOEXEC)
    try:
        before = posix.read(fd, 16).decode().strip()
        try:
            posix.write(fd, _OOM_SCORE.encode())
        except PermissionError:
            pass  # without CAP_SYS_RESOURCE
        return before
    finally:
        posix.close(fd)
