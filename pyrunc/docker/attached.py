"""What `run`, `start -a`, `attach` and `exec` share: our ends of a container's streams, from begin to end."""

from __future__ import annotations

from pyrunc.docker.output import is_terminal
from pyrunc.docker.streams import DEFAULT_KEYS, Raw, Signals, Streams, parse_keys, terminal_size
from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any

    from pyrunc.api.client import Upgraded
    from pyrunc.docker.session import Session
else:
    import _signal

# Sentence of the runtime -> exit code that a shell would have
_CODES = (
    ("executable file not found", 127), ("no such file or directory", 127),
    ("system cannot find the file", 127), ("permission denied", 126), ("is a directory", 126),
)  # fmt: skip
FAILED_CODE = 125


def code_of(error: PyruncError) -> int:
    """125: it was not started; 126: could not be; 127: there is no such program."""
    text = str(error).lower()
    if "oci runtime" not in text and "exec" not in text and "failed to create" not in text:
        return FAILED_CODE
    return next((code for words, code in _CODES if words in text), FAILED_CODE)


def require_terminal(is_tty: bool, takes_input: bool) -> None:
    """Raises PyruncError."""
    if is_tty and takes_input and not is_terminal(0):
        raise PyruncError(INVALID, "the input device is not a TTY")


def connect(
    session: Session,
    peer: Upgraded,
    *,
    is_tty: bool,
    takes_input: bool,
    keys: str,
    resize_path: str,
    kill_path: str = "",
    begin: Callable[[], Any] | None = None,
) -> bool:
    """Until the container's side ends (True) or the keys were typed (False). `begin` is called when all is
    ready for what it starts; `kill_path`: where signals go."""
    caller = session.another()

    def tell(number: int) -> None:
        try:
            if number == _signal.SIGWINCH:
                if is_tty:
                    resize(caller, resize_path)
            elif kill_path:
                caller.call("POST", kill_path, query={"signal": str(number)})
        except PyruncError:
            pass  # it has ended meanwhile, as those who asked for a signal will see

    with caller, Signals(proxies=bool(kill_path)) as signals, Raw(0, is_tty and takes_input):
        if begin is not None:
            begin()
        if is_tty and begin is None and kill_path:
            _change_size(caller, resize_path)
        if is_tty:
            tell(_signal.SIGWINCH)
        streams = Streams(
            peer,
            stdin=0 if takes_input else -1,
            keys=parse_keys(keys or DEFAULT_KEYS) if is_tty and takes_input else b"",
            signals=signals,
            told=tell,
        )
        return streams.run()


def resize(caller: Any, path: str, more: int = 0) -> None:
    """To the size of our terminal, and `more` each way."""
    rows, columns = terminal_size(1)
    if not rows:
        rows, columns = terminal_size(0)
    if rows and columns:
        caller.call("POST", path, query={"h": rows + more, "w": columns + more})


def _change_size(caller: Any, path: str) -> None:
    """So that what has run for a while draws itself anew, also where the size is what it was."""
    try:
        resize(caller, path, 1)
    except PyruncError:
        pass  # it has just ended, as its stream will tell


def exit_code(answer: Any) -> int:
    """Of the stream of a `wait`. Raises PyruncError if it tells of an error."""
    for ended in answer.objects():
        return int(ended["StatusCode"])
    raise PyruncError(INVALID, "the daemon went away before the container ended")
