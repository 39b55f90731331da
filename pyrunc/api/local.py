"""The API without a daemon: an engine in this process, and connections that are socket pairs.

    client = Client(open_local(Layout(), Settings()))

What was begun goes on when this process ends, for containers have their shims. When one of them ends after
that, its shim runs `pyruncd --settle`, which cleans up after it as a daemon would.
"""

from __future__ import annotations

import sys
import threading
from socket import socketpair

from pyrunc.api.app import make_router
from pyrunc.api.configuration import COMMAND, read_configuration
from pyrunc.api.server import serve_connection
from pyrunc.engine.engine import Engine
from pyrunc.record import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

    from pyrunc.api.client import Dial
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.settings import Settings


def own_program() -> tuple[str, ...]:
    """The words that run pyruncd, as this very interpreter sees it."""
    package = __file__.rpartition("/pyrunc/")[0]
    paths = [package, *(path for path in sys.path if path.endswith(("/vendor", "/site-packages")))]
    run = f"import sys; sys.path[:0] = {paths!r}; from pyrunc.api.daemon import entry; entry()"
    return sys.executable, "-ISEB", "-X", "utf8", "-c", run


def open_local(layout: Layout, settings: Settings) -> Dial:
    """Raises PyruncError where an engine cannot be."""
    words = ("--settle", "--data-root", layout.data_root, "--exec-root", layout.run_root)
    table = ("--network-table", settings.network_table)
    engine = Engine(layout, replaced(settings, exit_command=(*own_program(), *words, *table)))
    engine.settle()
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
