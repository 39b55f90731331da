"""The caller's console socket: where the master of a container's terminal goes (runc's docs/terminals.md)."""

from __future__ import annotations

import posix
import time

from pyrunc.errors import CONFLICT, PyruncError
from pyrunc.kernel import fds

_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.01


def connect(path: str) -> int:
    """A connection to the socket at `path`. Where more wait there than it has room for it is tried again for
    a while, for whoever listens may just be slow. Raises PyruncError."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            made = fds.connect_stream(path, waits=False)
        except BlockingIOError:
            if time.monotonic() > deadline:
                why = f"nobody has taken the connections that wait there, in {_PATIENCE_SECONDS:.0f} s"
                raise PyruncError(CONFLICT, "connect to console socket", path, why) from None
            time.sleep(_PAUSE_SECONDS)
        except OSError as error:
            raise PyruncError.from_errno(error.errno or 0, "connect to console socket", path) from error
        else:
            posix.set_blocking(made, True)
            return made
