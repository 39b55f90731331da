"""Carry out what `rules` wrote: by libnftables where it is, otherwise by the program nft. Both take a text as
one transaction: all of it happens or nothing. Both act in the network namespace of the calling thread.

Chosen by measurement, CPU milliseconds for one element of a map: libnftables 0.22, the program 4. pyroute2's
nftables has no concatenations and no intervals.
"""

from __future__ import annotations

import subprocess
import threading

from pyrunc.errors import CONFLICT, INTERNAL, NOT_FOUND, UNSUPPORTED, PyruncError
from pyrunc.kernel import nftables

_PROGRAM = ("nft", "--numeric-protocol", "--handle", "-f", "-")
_FLAGS = nftables.NUMERIC_PROTOCOL | nftables.WITH_HANDLES
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"}
_library = nftables.open_library()
_one_at_a_time = threading.Lock()
# The kernel's reasons, as both say them (strerror(3) of the C locale)
_KINDS = {
    "File exists": CONFLICT, "Device or resource busy": CONFLICT, "No such file or directory": NOT_FOUND,
    "Operation not supported": UNSUPPORTED,
}  # fmt: skip


def run(commands: str, what: str) -> str:
    """What the commands print, with handles and numbers for protocols. Raises PyruncError: `what` failed,
    CONFLICT if something is there already that says otherwise, NOT_FOUND if a name is not there; then nothing
    has changed."""
    if _library is not None:
        with _one_at_a_time:
            succeeded, text = _library.run(commands, _FLAGS)
    else:
        succeeded, text = _run_program(commands)
    if succeeded:
        return text
    first = text.strip().partition("\n")[0]
    kind = next((kind for reason, kind in _KINDS.items() if first.endswith(reason)), INTERNAL)
    raise PyruncError(kind, what, "nftables", first)


def _run_program(commands: str) -> tuple[bool, str]:
    try:
        done = subprocess.run(
            _PROGRAM, input=commands, capture_output=True, text=True, check=False, env=_ENVIRONMENT
        )  # fmt: skip
    except FileNotFoundError as error:
        raise PyruncError(
            UNSUPPORTED, "change the packet filter", "", "there is neither libnftables nor nft",
            hint="install the package nftables",
        ) from error  # fmt: skip
    return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr
