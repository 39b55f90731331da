"""One conversation with criu: start it, ask for one thing, answer what it wants to know meanwhile.

criu takes descriptors of directories out of our /proc/PID/fd, while those that a restored process is to
inherit must be open in criu itself, under the numbers that it is told.
"""

from __future__ import annotations

import posix

from pyrunc.errors import INTERNAL, UNSUPPORTED, PyruncError, doing
from pyrunc.files import read_whole
from pyrunc.kernel import fds
from pyrunc.linux.criu import rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # What criu has come to (its name for a script), with the process id and the descriptors that it tells
    Notified = Callable[[str, int, tuple[int, ...]], None]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # podman may call us without one
_LINES_OF_LOG = 5


def find_criu() -> str:
    """Where criu is, or nothing."""
    path = posix.environ.get(b"PATH", b"").decode("utf-8", "surrogateescape")
    for directory in (*path.split(":"), *_PATH.split(":")):
        if directory.startswith("/") and posix.access(f"{directory}/criu", posix.X_OK):
            return f"{directory}/criu"
    return ""


def require_criu() -> str:
    found = find_criu()
    if not found:
        raise PyruncError(
            UNSUPPORTED, "criu was not found", hint="install it: it saves and restores processes"
        )
    return found


class Session:
    """`stdio`: (stream, descriptor) where criu's are to be others than ours; `passed`: descriptors that it
    inherits under their numbers. Call `close` in any case."""

    def __init__(self, stdio: tuple[tuple[int, int], ...] = (), passed: tuple[int, ...] = ()) -> None:
        criu = require_criu()
        self._socket, theirs = fds.socket_pair()
        environment: dict[bytes, bytes] = dict(posix.environ)
        if not environment.get(b"PATH"):
            environment[b"PATH"] = _PATH.encode()
        # Onto itself: dup2 so takes close-on-exec away. The streams last, for none of theirs is below 3.
        given = ((theirs, theirs), *((fd, fd) for fd in passed), *((fd, stream) for stream, fd in stdio))
        try:
            with doing("start criu", criu):
                self.pid = posix.posix_spawn(
                    criu,
                    (criu, "swrk", str(theirs)),
                    environment,
                    file_actions=[(posix.POSIX_SPAWN_DUP2, source, target) for source, target in given],
                )
        except BaseException:
            posix.close(self._socket)
            raise
        finally:
            posix.close(theirs)

    def close(self) -> None:
        """criu leaves when nobody listens; a pre-dump's would wait for more otherwise."""
        if self.pid:
            posix.close(self._socket)
            posix.waitpid(self.pid, 0)
            self.pid = 0

    def ask(self, kind: int, notified: Notified | None = None, **message: Any) -> dict[str, Any]:
        """The answer, a success. `notified` may raise PyruncError: criu then gives up, and undoes. Raises
        that, or one with criu's own words, to which `explain_by_log` can add more."""
        failure: PyruncError | None = None
        self._send({"type": kind, **message})
        while True:
            answer, received = self._receive(kind)
            if answer.get("type") != rpc.NOTIFY or not answer.get("success"):
                break
            notice = answer.get("notify", {})
            try:
                if notified is not None and failure is None:
                    notified(notice.get("script", ""), notice.get("pid", 0), received)
            except PyruncError as error:
                failure = error
            finally:
                for fd in received:
                    posix.close(fd)
            self._send({"type": rpc.NOTIFY, "notify_success": failure is None})
        if failure is not None:
            raise failure
        if not answer.get("success"):
            raise _refused(kind, answer)
        return answer

    def _send(self, request: dict[str, Any]) -> None:
        try:
            fds.send(self._socket, rpc.encode(rpc.REQUEST, request))
        except BrokenPipeError:
            pass  # it ended: there may still be an answer from it to read

    def _receive(self, kind: int) -> tuple[dict[str, Any], tuple[int, ...]]:
        try:
            data, received = fds.receive(self._socket)
        except ConnectionResetError:
            data, received = b"", ()
        if not data:
            raise PyruncError(
                INTERNAL, f"criu failed: type {rpc.NAMES[kind]}", "", "it ended without an answer"
            )
        return rpc.decode(rpc.RESPONSE, data), received


def _refused(kind: int, answer: dict[str, Any]) -> PyruncError:
    name = rpc.NAMES.get(answer.get("type", kind), rpc.NAMES[kind])
    what = f"criu failed: type {name} errno {answer.get('cr_errno', 0)}"
    return PyruncError(INTERNAL, what, "", answer.get("cr_errmsg", ""))


def has_feature(name: str) -> bool:
    """May this criu do that here? One of the names in rpc.FEATURES."""
    session = Session()
    try:
        answer = session.ask(rpc.FEATURE_CHECK, features={name: True})
    finally:
        session.close()
    return bool(answer.get("features", {}).get(name))


def explain_by_log(error: PyruncError, path: str) -> PyruncError:
    """criu tells what went wrong only in its log: the errors there are added to ours."""
    try:
        text = read_whole(path).decode("utf-8", "backslashreplace")
    except FileNotFoundError:
        return error
    said = excerpt(text)
    why = "; ".join(part for part in (error.why, said) if part)
    return PyruncError(error.kind, error.what, f"log file: {path}", why, error.hint)


def excerpt(log: str) -> str:
    """The last lines that are errors, without their times."""
    lines = [line[line.index("Error") :].strip() for line in log.splitlines() if "Error (" in line]
    return "; ".join(lines[-_LINES_OF_LOG:])
