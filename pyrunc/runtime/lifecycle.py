"""The state machine of a container: which verb needs which status, and what is said otherwise.

A status is never stored: it follows from what the kernel says of the init process, of the fifo that it
waits on, and of the freezer (runtime reference 1.6).
"""

from __future__ import annotations

from pyrunc.errors import WRONG_STATE, PyruncError
from pyrunc.oci.state import CREATED as CREATED
from pyrunc.oci.state import CREATING as CREATING
from pyrunc.oci.state import PAUSED as PAUSED
from pyrunc.oci.state import RUNNING as RUNNING
from pyrunc.oci.state import STOPPED as STOPPED

_ALLOWED = {
    "start": (CREATED,),
    "kill": (CREATED, RUNNING, PAUSED),
    "delete": (STOPPED,),
    "exec": (CREATED, RUNNING, PAUSED),
    "pause": (CREATED, RUNNING),
    "resume": (PAUSED,),
    "update": (CREATED, RUNNING, PAUSED),
    "events": (CREATED, RUNNING, PAUSED),
    "ps": (CREATED, RUNNING, PAUSED),
}
_SENTENCES = {
    ("start", STOPPED): "cannot start a container that has stopped",
    ("start", RUNNING): "cannot start an already running container",
    ("exec", STOPPED): "cannot exec in a stopped container",
    ("resume", CREATED): "container not paused",
    ("resume", RUNNING): "container not paused",
    ("resume", STOPPED): "container not paused",
    ("pause", PAUSED): "container not running or created: paused",
    ("pause", STOPPED): "container not running or created: stopped",
}


def require(verb: str, container_id: str, status: str) -> None:
    """Raises PyruncError WRONG_STATE with the sentence that callers know."""
    if status in _ALLOWED[verb]:
        return
    sentence = _SENTENCES.get((verb, status))
    if sentence is None:
        if verb == "delete":
            sentence = f"cannot delete container {container_id} that is not stopped: {status}"
        elif verb == "start":
            sentence = f"cannot start a container in the {status} state"
        else:
            sentence = "container not running"
    raise PyruncError(WRONG_STATE, sentence)
