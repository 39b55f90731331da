"""The API without a daemon: an engine in this process, and connections that are socket pairs.

    client = Client(open_local(Layout(), Settings()))

What was begun goes on when this process ends, for containers have their shims. What would be cleaned up after
them is, when a container ends after that, left to whoever opens the data root next.
"""

from __future__ import annotations

import threading
from socket import socketpair

from pyrunc.api.app import make_router
from pyrunc.api.configuration import COMMAND, read_configuration
from pyrunc.api.server import serve_connection
from pyrunc.engine.engine import Engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

    from pyrunc.api.client import Dial
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.settings import Settings


def open_local(layout: Layout, settings: Settings) -> Dial:
    """Raises PyruncError where an engine cannot be."""
    engine = Engine(layout, settings)
    engine.take_up(restarts=False)
    router = make_router(engine)

    def dial() -> socket:
        ours, theirs = socketpair()
        threading.Thread(target=serve_connection, args=(router, theirs), daemon=True).start()
        return ours

    return dial


def open_as_told(words: list[str]) -> Dial:
    """`words`: options of pyruncd's; daemon.json is read as by it. Raises PyruncError."""
    configuration = read_configuration(COMMAND.parse(words))
    return open_local(configuration.layout, configuration.settings)
