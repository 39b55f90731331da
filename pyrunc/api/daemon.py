"""pyruncd: an engine, listening sockets, and the end of both."""

from __future__ import annotations

import fcntl
import grp
import os
import signal
import ssl
import sys
import threading
from socket import AF_INET, AF_INET6, AF_UNIX, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket

from pyrunc import __version__, log
from pyrunc.api.app import make_router
from pyrunc.api.client import parse_address
from pyrunc.api.configuration import COMMAND, Configuration, read_configuration
from pyrunc.api.server import Listener, Server
from pyrunc.engine.engine import Engine
from pyrunc.errors import CONFLICT, INVALID, PyruncError, doing
from pyrunc.files import write_all
from pyrunc.later import fetch_all
from pyrunc.options import HelpWanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_SOCKET_MODE = 0o660
_DEFAULT_GROUP = "docker"


def entry() -> NoReturn:
    """The program. Containers go on when it ends."""
    code = 0
    try:
        given = COMMAND.parse(sys.argv[1:])
        if given["version"]:
            write_all(1, f"pyruncd version {__version__}\n".encode())
        else:
            run(lambda: read_configuration(given))
    except HelpWanted:
        write_all(1, _help().encode())
    except PyruncError as error:
        log.error(str(error))
        if error.hint:
            log.error(f"hint: {error.hint}")
        code = 1
    os._exit(code)  # threads may wait for clients who are not in a hurry


def _help() -> str:
    lines = [f"pyruncd: {COMMAND.summary}", ""]
    for flag in COMMAND.flags:
        short = f"-{flag.short}, " if flag.short else ""
        lines.append(f"  {short}--{flag.name:<20} {flag.summary}")
    return "\n".join(lines) + "\n"


def run(read: Callable[[], Configuration]) -> None:
    """Until SIGTERM or SIGINT; SIGHUP has the configuration read again. Raises PyruncError for what keeps it
    from starting."""
    configuration = read()
    log.configure("", "text", configuration.debug)
    os.umask(0o022)
    os.makedirs(configuration.layout.run_root, 0o711, exist_ok=True)
    with open(f"{configuration.layout.run_root}/pyruncd.lock", "a") as lock:
        if not _is_alone(lock.fileno()):
            if configuration.settles:
                return  # the daemon does that
            raise PyruncError(CONFLICT, "another pyruncd runs there", configuration.layout.data_root)
        engine = Engine(configuration.layout, configuration.settings)
        if configuration.settles:
            fcntl.flock(lock, fcntl.LOCK_UN)  # a daemon may start meanwhile
            engine.settle()
            engine.close()
            return
        fetch_all()
        listeners = [_listen(host, configuration) for host in configuration.hosts]
        server = Server(make_router(engine), listeners)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=_reload, args=(engine, read)).start())
        engine.take_up()
        if configuration.pidfile:
            with doing("write", configuration.pidfile), open(configuration.pidfile, "w") as file:
                file.write(str(os.getpid()))
        log.debug(f"API listens on {', '.join(configuration.hosts)}")
        server.serve()
        for path in (configuration.pidfile, *_socket_paths(configuration)):
            if path:
                _unlink(path)
        engine.close()


def _reload(engine: Engine, read: Callable[[], Configuration]) -> None:
    """Beside what goes on. A file that is wrong changes nothing."""
    try:
        configuration = read()
    except PyruncError as error:
        log.error(f"the configuration stays as it was: {error}")
        return
    log.configure("", "text", configuration.debug)
    engine.reload(configuration.settings)


def _is_alone(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket_paths(configuration: Configuration) -> list[str]:
    parsed = map(parse_address, configuration.hosts)
    return [path for scheme, path, _ in parsed if scheme == "unix"]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _listen(host: str, configuration: Configuration) -> Listener:
    scheme, address, port = parse_address(host)
    with doing("listen", host):
        if scheme == "unix":
            return Listener(_listen_unix(address, configuration.group))
        assert configuration.tls is not None
        made = socket(AF_INET6 if ":" in address else AF_INET, SOCK_STREAM)
        made.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        made.bind((address, port))
        return Listener(made, _tls_context(*configuration.tls))


def _listen_unix(path: str, group: str) -> socket:
    """Root's and the group's alone: whoever may write to it is root. It gets its name when it has its
    rights."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    aside = f"{path}.{os.getpid()}"
    made = socket(AF_UNIX, SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(aside)
    finally:
        os.umask(before)
    os.chown(aside, 0, _group_id(group))
    os.chmod(aside, _SOCKET_MODE)
    os.rename(aside, path)
    return made


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name or _DEFAULT_GROUP).gr_gid
    except KeyError:
        if name:
            raise PyruncError(INVALID, "there is no such group", name) from None
        return 0


def _tls_context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """Who shows no certificate that `ca` has signed gets no word of HTTP out of us."""
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise PyruncError(INVALID, "cannot use the TLS certificates", certificate, str(error)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    return context
