"""Containers from Python: `import pyrunc; pyrunc.Container.create("bundle/")`.

    with pyrunc.Container.create("bundle/") as container:
        container.start()
        print(container.exec(["id"]).output)
        container.kill("TERM")
        print(container.wait())

The methods are the verbs of the command line, and raise the same PyruncError. A container that this process
has created is its child: `wait` knows its exit code. No signal handler is set and no other child is reaped.
Not for a process with threads: a fork of it is what becomes the container (use the command line there).
"""

from __future__ import annotations

import posix
from select import POLLIN, poll

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.files import absolute
from pyrunc.kernel.signals import parse_signal
from pyrunc.kernel.spawn import Outcome, attend
from pyrunc.record import Record
from pyrunc.runtime.create import CreateRequest, begin
from pyrunc.runtime.delete import delete
from pyrunc.runtime.events import read_stats
from pyrunc.runtime.exec import ExecRequest, begin_exec
from pyrunc.runtime.kill import kill
from pyrunc.runtime.pause import pause, resume
from pyrunc.runtime.ps import list_processes
from pyrunc.runtime.start import start
from pyrunc.runtime.state import describe
from pyrunc.runtime.update import update
from pyrunc.waiting import finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Self

DEFAULT_STATE_ROOT = "/run/pyrunc"


class Execution(Record):
    """What came of a process: `code` is its exit code, 128 and the signal's number if one ended it."""

    code: int
    output: bytes
    errors: bytes


class Container:
    """A container by its id. As a context manager it is removed at the end, whatever its state."""

    def __init__(self, id: str, state_root: str = DEFAULT_STATE_ROOT) -> None:
        """One that exists, whoever made it."""
        self.id = id
        self.state_root = absolute(state_root)
        self._pid = self._pidfd = -1
        self._code: int | None = None

    def __repr__(self) -> str:
        return f"<Container {self.id}>"

    @classmethod
    def create(
        cls,
        bundle: str,
        id: str = "",
        *,
        state_root: str = DEFAULT_STATE_ROOT,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        **options: Any,
    ) -> Self:
        """A container of the bundle, which waits for `start`. Its streams are ours, or the descriptors given;
        the id is the bundle's name unless one is given. `options`: fields of runtime.create.CreateRequest."""
        path = absolute(bundle)
        container = cls(id or path.rpartition("/")[2], state_root)
        request = CreateRequest(
            id=container.id,
            bundle=path,
            state_root=container.state_root,
            stand_in=_lend(stdin, stdout, stderr),
            **options,
        )
        begun = begin(request, is_detached=True)
        container._pid, container._pidfd = begun.pid, begun.pidfd
        return container

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.delete(force=True)

    def start(self) -> None:
        start(self.state_root, self.id)

    @property
    def state(self) -> dict[str, Any]:
        """The document that `pyrunc state` prints."""
        return describe(self.state_root, self.id)

    @property
    def status(self) -> str:
        """created, running, paused or stopped."""
        return str(self.state["status"])

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Until it ends: its exit code, again and again. Only for one that this process has created. Raises
        TimeoutError when it takes longer than that."""
        if self._code is not None:
            return self._code
        if self._pidfd < 0:
            raise PyruncError(
                UNSUPPORTED, "cannot wait for a container that another process has created", self.id
            )
        if timeout_seconds is not None and not _has_ended(self._pidfd, timeout_seconds):
            raise TimeoutError(f"{self.id} has not ended within {timeout_seconds} s")
        self._reap()
        assert self._code is not None
        return self._code

    def exec(
        self,
        args: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        timeout_seconds: float | None = None,
        **options: Any,
    ) -> Execution:
        """Run a further process, feed it `input`, and collect what it says (64 KiB of each stream).

        What has not ended after `timeout_seconds` is killed. `user` is UID[:GID]. `options`: fields of
        runtime.exec.ExecRequest.
        """
        if isinstance(args, str):
            raise PyruncError(INVALID, "args is one string", args, "a list of words is wanted")
        stdin, to_stdin = posix.pipe2(posix.O_CLOEXEC)
        from_stdout, stdout = posix.pipe2(posix.O_CLOEXEC)
        from_stderr, stderr = posix.pipe2(posix.O_CLOEXEC)
        request = ExecRequest(
            id=self.id,
            state_root=self.state_root,
            args=tuple(args),
            env=tuple(f"{name}={value}" for name, value in (env or {}).items()),
            cwd=cwd,
            user=user,
            stand_in=_lend(stdin, stdout, stderr),
            **options,
        )
        try:
            born = begin_exec(request)
        except BaseException:
            for fd in (to_stdin, from_stdout, from_stderr):
                posix.close(fd)
            raise
        finally:
            for fd in (stdin, stdout, stderr):
                posix.close(fd)
        try:
            outcome = finish(
                attend(born.pid, born.pidfd, to_stdin, from_stdout, from_stderr, input, timeout_seconds)
            )
        finally:
            born.close()
            posix.close(from_stdout)
            posix.close(from_stderr)
        return _execution(outcome)

    def kill(self, signal: str | int = "TERM", *, everyone: bool = False) -> None:
        kill(
            self.state_root,
            self.id,
            parse_signal(str(int(signal) if isinstance(signal, int) else signal)),
            everyone=everyone,
        )

    def pause(self) -> None:
        pause(self.state_root, self.id)

    def resume(self) -> None:
        resume(self.state_root, self.id)

    def update(self, resources: dict[str, Any]) -> None:
        """`resources` as in config.json."""
        update(self.state_root, self.id, resources)

    def processes(self) -> list[int]:
        """As the host numbers them."""
        return list_processes(self.state_root, self.id)

    def stats(self) -> dict[str, Any]:
        return read_stats(self.state_root, self.id)

    def delete(self, *, force: bool = False) -> None:
        delete(self.state_root, self.id, force=force)
        if self._pidfd >= 0:
            self._reap()

    def _reap(self) -> None:
        _, status = posix.waitpid(self._pid, 0)
        posix.close(self._pidfd)
        self._pid = self._pidfd = -1
        self._code = _code_of(status)


def _lend(*streams: int | None) -> Callable[[], tuple[tuple[int, int], ...]]:
    """Copies of the descriptors for the child, made when they are asked for; who asks closes them."""
    return lambda: tuple((number, posix.dup(fd)) for number, fd in enumerate(streams) if fd is not None)


def _has_ended(pidfd: int, timeout_seconds: float) -> bool:
    watched = poll()
    watched.register(pidfd, POLLIN)
    return bool(watched.poll(timeout_seconds * 1000))


def _code_of(status: int) -> int:
    code = posix.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _execution(outcome: Outcome) -> Execution:
    code = outcome.status if outcome.status >= 0 else 128 - outcome.status
    return Execution(code=code, output=outcome.output, errors=outcome.errors)
