"""The only door to a runtime: words of runc's command line in; exit code, pid file and output out.

    door = Door(loop, reaper, work, RuntimeSettings(state_root="/run/x/runtime"))                 # ours
    door = Door(loop, reaper, work, RuntimeSettings(state_root=..., program="/usr/sbin/runc"))    # or another
    door.create(("--bundle", bundle), "web", Streams(stdin=0, stdout=w, stderr=w), created)
    door.exec(("--process", file), "web", Streams(console=console.path), executed)
    door.call(("kill", "web", "15"), done)          # and every other verb: state, ps, pause, update, events

Each returns at once. `done(outcome)` is called by the loop when the verb has ended; after `create`, `exec`
and `restore` `outcome.pid` is a child of ours, which has to be given to `reaper.expect` within that call.

Ours is a library: no interpreter starts, a fork of this process carries the verb out, with the words of the
command line and what they do there, and is gone. Why a fork: hooks take their time, a launch leaves garbage
behind, and the runtime's modules may stay out of a shim's memory; who has them loaded already (`preload`)
shares them. Where a container could trace us, our executable has to be sealed: either all of the process is,
from its start (`prepare`), or the fork begins anew as our command line, sealed, which takes an interpreter's
start for those containers.
"""

from __future__ import annotations

import posix
import sys

from pyrunc import jsonio, log
from pyrunc.errors import DENIED, INTERNAL, NOT_FOUND, UNSUPPORTED, WRONG_STATE, PyruncError
from pyrunc.files import read_all, read_whole, write_all
from pyrunc.kernel import signals, syscall
from pyrunc.kernel.const import F_DUPFD_CLOEXEC, MFD_CLOEXEC
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, TypeAlias

    from pyrunc.shim.loop import Loop
    from pyrunc.shim.reaper import Child, Reaper

    Done: TypeAlias = Callable[["Outcome"], object]

KEPT = 3  # where `keep_only` leaves the one descriptor more
_ABOVE_STREAMS = 10
_NOT_EXECUTED = 127
_MAKING = ("create", "exec", "restore")
_PROGRAM = "import sys; sys.path.insert(0, {path!r}); from pyrunc.cli.main import entry; entry()"
_SEEK_SET = 0
_ERROR_FIELDS = ("kind", "what", "where", "why", "hint")
# What the verbs need, for who wants to have it before it is asked for
VERBS = ("create", "start", "exec", "kill", "delete", "state", "ps", "pause", "resume", "update", "events")
# Sentences of any runtime that have a kind of their own
_KINDS = (
    ("does not exist", NOT_FOUND),
    ("not running", WRONG_STATE),
    ("permission denied", DENIED),
)


class RuntimeSettings(Record):
    """`program`: the absolute name of a runtime with runc's command line; none is ours. `state_root` is
    absolute. `options`: more words for `program`, before the verb."""

    state_root: str
    program: str = ""
    cgroup_manager: str = "cgroupfs"
    rootless: str = "auto"
    options: tuple[str, ...] = ()


class Streams(Record):
    """What a process of the container gets for 0, 1 and 2: descriptors, which stay the caller's; -1 is
    /dev/null. `console`: the path of a console socket (console.ConsoleSocket), for a terminal instead."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    console: str = ""


class Outcome(Record):
    """How a verb ended. `error` None: well. `pid`: of the process that it made, ours to reap, else 0.
    `was_killed`: by a signal, in its midst."""

    error: PyruncError | None = None
    pid: int = 0
    output: bytes = b""
    was_killed: bool = False

    def document(self) -> Any:
        """The output as JSON. Raises the error, or PyruncError INVALID."""
        if self.error is not None:
            raise self.error
        return jsonio.loads(self.output, "what the runtime said")


class Call:
    """A verb that is being carried out. `child`: who does it, for a caller whose patience ends."""

    __slots__ = ("child", "done", "log_path", "output_fd", "pid_file", "report_fd")

    def __init__(self, done: Done, pid_file: str, log_path: str) -> None:
        self.done, self.pid_file, self.log_path = done, pid_file, log_path
        self.child: Child | None = None
        self.output_fd, self.report_fd = _memory(), _memory()

    def close(self) -> None:
        for fd in (self.output_fd, self.report_fd):
            posix.close(fd)
        for path in (self.pid_file, self.log_path):
            if path:
                _remove(path)


class Door:
    """To one runtime with one state root. `work`: a directory for files that live as long as a call.
    `oom_score`: the oom_score_adj (proc(5)) that containers begin with, where ours is another."""

    def __init__(
        self, loop: Loop, reaper: Reaper, work: str, settings: RuntimeSettings, oom_score: str = ""
    ) -> None:
        self.loop, self.reaper, self.work, self.settings = loop, reaper, work, settings
        self._number, self._oom_score = 0, oom_score

    def create(self, options: tuple[str, ...], id: str, streams: Streams, done: Done) -> Call:
        """`options`: --bundle and whatever else; the pid file and the console socket are added here. One that
        is killed, for want of memory perhaps, leaves as little as one that fails."""
        return self._make(("create", *options), (id,), streams, self._or_taken_away(id, done))

    def exec(
        self, options: tuple[str, ...], id: str, streams: Streams, done: Done, args: tuple[str, ...] = ()
    ) -> Call:
        """`options`: --process FILE and whatever else; or `args`, in the container's own environment."""
        return self._make(("exec", "--detach", *options), (id, *args), streams, done)

    def restore(self, options: tuple[str, ...], id: str, streams: Streams, done: Done) -> Call:
        """`options`: --bundle, --image-path and whatever else."""
        words = ("restore", "--detach", "--no-subreaper", *options)
        return self._make(words, (id,), streams, self._or_taken_away(id, done))

    def call(self, words: tuple[str, ...], done: Done, data: bytes = b"") -> Call:
        """Any other verb. `data` is its standard input; what it prints is in the outcome."""
        return self._begin(words, None, data, "", done)

    def _or_taken_away(self, id: str, done: Done) -> Done:
        def made(outcome: Outcome) -> None:
            if outcome.was_killed:
                self.call(("delete", "--force", id), lambda _deleted: done(outcome))
            else:
                done(outcome)

        return made

    def _make(self, words: tuple[str, ...], operands: tuple[str, ...], streams: Streams, done: Done) -> Call:
        pid_file = f"{self.work}/{self._next()}.pid"
        console = ("--console-socket", streams.console) if streams.console else ()
        words = (*words, "--pid-file", pid_file, *console, *operands)
        return self._begin(words, streams, b"", pid_file, done)

    def _next(self) -> str:
        self._number += 1
        return f"call-{self._number}"

    def _begin(
        self, words: tuple[str, ...], streams: Streams | None, data: bytes, pid_file: str, done: Done
    ) -> Call:
        log_path = f"{self.work}/{self._next()}.log" if self.settings.program else ""
        call = Call(done, pid_file, log_path)
        given = _memory(data) if data else -1
        if streams is None:
            fds = (given, call.output_fd, call.output_fd if self.settings.program else -1)
        else:
            fds = (streams.stdin, streams.stdout, streams.stderr)
        self.reaper.hold()
        try:
            pid = posix.fork()
            if pid == 0:
                self._be_helper(words, fds, call)
            call.child = self.reaper.expect(pid, lambda child: self._finish(call, child))
        except BaseException:
            self.reaper.release()
            call.close()
            raise
        finally:
            if given >= 0:
                posix.close(given)
        return call

    # --- in the fork ------------------------------------------------------------------------------

    def _be_helper(self, words: tuple[str, ...], fds: tuple[int, int, int], call: Call) -> NoReturn:
        code = _NOT_EXECUTED
        report = call.report_fd
        try:
            self.loop.abandon()
            keep_only(fds, report)
            report = KEPT
            if self._oom_score:
                _write_score(self._oom_score)
            if self.settings.program:
                self._execute(words, call.log_path)
            code = _carry_out(self.settings, words)
        except (
            ModuleNotFoundError
        ) as error:  # asked for before anything is done, as all that the launcher lacks
            code = 1
            _begin_with_all(self.settings, words, report, error)
        except PyruncError as error:
            code = 1
            _write_error(report, error)
        except OSError as error:
            where = str(error.filename or error.strerror)
            _write_error(report, PyruncError.from_errno(error.errno or 0, words[0], where))
        except Exception as error:
            _write_error(report, PyruncError(INTERNAL, "internal error", words[0], repr(error)))
        finally:
            posix._exit(code)

    def _execute(self, words: tuple[str, ...], log_path: str) -> None:
        settings = self.settings
        if "--init" in words:
            why = "only pyrunc brings an init along"
            raise PyruncError(UNSUPPORTED, "cannot put an init into the container", settings.program, why)
        signals.reset_for_exec()
        syscall.reset_internal_signals()
        systemd = ("--systemd-cgroup",) if settings.cgroup_manager == "systemd" else ()
        common = ("--root", settings.state_root, "--log", log_path, "--log-format", "json")
        argv = (settings.program, *settings.options, *common, *systemd, *words)
        posix.execve(settings.program, argv, posix.environ)

    # --- afterwards -------------------------------------------------------------------------------

    def _finish(self, call: Call, child: Child) -> None:
        try:
            error = None if child.status == 0 else _find_error(call, child.exit_code)
            pid = 0
            if error is None and call.pid_file:
                pid = int(read_whole(call.pid_file))
            output = _contents(call.output_fd)
        except (OSError, ValueError) as problem:
            error = PyruncError(INTERNAL, "the runtime left no pid file", call.pid_file, str(problem))
            pid, output = 0, b""
        finally:
            call.close()
        try:
            was_killed = posix.WIFSIGNALED(child.status or 0)
            call.done(Outcome(error=error, pid=pid, output=output, was_killed=was_killed))
        finally:
            self.reaper.release()


def prepare(settings: RuntimeSettings) -> None:
    """Once, before anything is done by a process that will have a door to our own runtime. It may begin anew
    by the same command line: from a sealed executable, which no container can write to (runtime.exeseal), or
    with a whole interpreter where the launcher's has no D-Bus. Raises PyruncError."""
    if settings.program:
        return
    if settings.cgroup_manager == "systemd":
        _load("pyrunc.linux.cgroups.systemd")
    exeseal = _load("pyrunc.runtime.exeseal")
    if not exeseal.is_sealed() and _load("pyrunc.linux.facts").probe().is_privileged:
        exeseal.seal()


def preload(verbs: tuple[str, ...] = VERBS) -> None:
    """Import what `verbs` need, once, for all forks of this process."""
    main = _load("pyrunc.cli.main")
    for verb in verbs:
        main.find(verb)


def _carry_out(settings: RuntimeSettings, words: tuple[str, ...]) -> int:
    """As our command line would. Raises PyruncError. Stderr is the container's: nothing is said there."""
    main = _load("pyrunc.cli.main")
    log.configure("/dev/null", "json")
    if words[0] in _MAKING:
        posix.set_inheritable(KEPT, True)  # for who begins anew
        _load("pyrunc.runtime.exeseal").command = _command_line(settings, words)
    module = main.find(words[0])
    given = module.COMMAND.parse(list(words[1:]))
    code: int = module.main(
        main.Settings(
            state_root=settings.state_root,
            is_shim=True,
            cgroup_manager=settings.cgroup_manager,
            rootless=settings.rootless,
        ),
        given,
    )
    return code


def _begin_with_all(
    settings: RuntimeSettings, words: tuple[str, ...], report: int, error: ModuleNotFoundError
) -> None:
    """By an ordinary interpreter, in place of the launcher's. Returns when this is one."""
    if "_pyrunc" in sys.builtin_module_names:
        posix.set_inheritable(KEPT, True)
        script = f"{__file__.rpartition('/pyrunc/')[0]}/bin/pyrunc"
        posix.execv(script, _command_line(settings, words))
    _write_error(report, PyruncError(INTERNAL, "internal error", words[0], str(error)))


def _command_line(settings: RuntimeSettings, words: tuple[str, ...]) -> tuple[str, ...]:
    """The same verb by our command line: what it begins anew as, where the container could trace us. What it
    says goes where a fork reports."""
    package = __file__.rpartition("/pyrunc/")[0]
    if "_pyrunc" in sys.builtin_module_names:
        interpreter: tuple[str, ...] = ("pyrunc",)
    else:
        interpreter = (sys.executable, "-ISEBXutf8", "-c", _PROGRAM.format(path=package))
    return (
        *interpreter, "--root", settings.state_root, "--log", f"/proc/self/fd/{KEPT}",
        "--log-format", "json", "--cgroup-manager", settings.cgroup_manager,
        "--rootless", settings.rootless, *words,
    )  # fmt: skip


def _load(name: str) -> Any:
    """The floors below, and the words of our own command line, come in when they are wanted: a shim that
    waits has no use for them."""
    return __import__(name, fromlist=("",))


def keep_only(fds: tuple[int, int, int], kept: int) -> None:
    """Put `fds` to 0, 1 and 2 (-1: /dev/null), `kept` to KEPT, and let go of all else: sockets, terminals and
    logs are no business of a runtime, nor of its hooks."""
    null = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
    *high, kept = (
        syscall.call("fcntl", null if fd < 0 else fd, F_DUPFD_CLOEXEC, _ABOVE_STREAMS) for fd in (*fds, kept)
    )
    for number, fd in enumerate(high):
        posix.dup2(fd, number)
    posix.dup2(kept, KEPT, inheritable=False)
    syscall.close_range(KEPT + 1, 0xFFFF_FFFF, 0)


def _memory(data: bytes = b"") -> int:
    """An open file of no name, at its beginning."""
    fd = posix.memfd_create("shim", MFD_CLOEXEC)
    if data:
        write_all(fd, data)
        posix.lseek(fd, 0, _SEEK_SET)
    return fd


def _write_score(score: str) -> None:
    fd = posix.open("/proc/self/oom_score_adj", posix.O_WRONLY | posix.O_CLOEXEC)
    posix.write(fd, score.encode())
    posix.close(fd)


def _contents(fd: int) -> bytes:
    posix.lseek(fd, 0, _SEEK_SET)
    return read_all(fd)


def _write_error(report: int, error: PyruncError) -> None:
    document = {name: getattr(error, name) for name in _ERROR_FIELDS}
    write_all(report, jsonio.dumps(document).encode("utf-8", "surrogatepass"))


def _find_error(call: Call, code: int) -> PyruncError:
    """What our own said, or another runtime's log, or what it printed."""
    report = _contents(call.report_fd)
    said = _last_error(report)
    if report and not said:
        document = jsonio.loads(report)
        return PyruncError(*(document[name] for name in _ERROR_FIELDS))
    text = said or _last_error(_log_of(call)) or _contents(call.output_fd).decode(errors="replace").strip()
    what = text or f"the runtime ended with {code}, and said nothing"
    kind = next((kind for words, kind in _KINDS if words in what), INTERNAL)
    return PyruncError(kind, what)


def _log_of(call: Call) -> bytes:
    try:
        return read_whole(call.log_path) if call.log_path else b""
    except FileNotFoundError:
        return b""


def _last_error(text: bytes) -> str:
    """Of a log in JSON, a line each (runtime.md, --log-format json)."""
    found = ""
    for line in text.splitlines():
        try:
            entry = jsonio.loads(line, "log")
        except PyruncError:
            continue  # not ours to judge: another runtime's log
        if type(entry) is dict and entry.get("level") in ("error", "fatal"):
            found = str(entry.get("msg", ""))
    return found


def _remove(path: str) -> None:
    try:
        posix.unlink(path)
    except FileNotFoundError:
        pass
