"""One call's ties: the daemon if one runs, and otherwise an engine in this process.

An address that was asked for (`-H`, $DOCKER_HOST) must answer. Where nobody asked, pyruncd's own socket is
tried; if nobody listens there, `api.local` is imported, which brings an engine along: nothing has to be
started before the first `pyr run`.
"""

from __future__ import annotations

import posix

from pyrunc.api.client import VERSION, Client, dial_unix, parse_address
from pyrunc.errors import DENIED, INVALID, PyruncError
from pyrunc.files import absolute
from pyrunc.thirdparty import reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket as Socket
    from typing import Any, Self

    from pyrunc.api.client import Answer, Dial, Upgraded

DEFAULT_SOCKET = "/run/pyruncd.sock"
_NOBODY_LISTENS = ("no such file or directory", "connection refused")


def environment(name: str) -> str:
    return posix.environ.get(name.encode(), b"").decode(errors="surrogateescape")


def _beginning_with(first: Socket, dial: Dial) -> Dial:
    """The connection that told that a daemon runs is the first to be used."""
    ready = [first]
    return lambda: ready.pop() if ready else dial()


class Session:
    """`given`: the global options. Nothing is connected before the first call."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.is_local = False
        self._client: Client | None = None
        self._dial: Dial | None = None

    @property
    def configuration(self) -> str:
        """The directory of config.json."""
        home = environment("HOME") or "/"
        return self.given["config"] or environment("DOCKER_CONFIG") or f"{home}/.docker"

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = self.another()
        return self._client

    def another(self) -> Client:
        """A client with a connection of its own, for a call beside one that is not done."""
        if self._dial is None:
            self._dial = self._find()
        return Client(self._dial, environment("DOCKER_API_VERSION") or VERSION)

    def call(self, method: str, path: str, **more: Any) -> Any:
        return self.client.call(method, path, **more)

    def stream(self, method: str, path: str, **more: Any) -> Answer:
        return self.client.stream(method, path, **more)

    def upgrade(self, method: str, path: str, **more: Any) -> Upgraded:
        return self.client.upgrade(method, path, **more)

    def get(self, path: str, **more: Any) -> Any:
        return self.client.call("GET", path, **more)

    def post(self, path: str, **more: Any) -> Any:
        return self.client.call("POST", path, **more)

    def delete(self, path: str, **more: Any) -> Any:
        return self.client.call("DELETE", path, **more)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._client is not None:
            self._client.close()

    def _find(self) -> Dial:
        hosts = self.given["host"]
        if len(hosts) > 1:
            raise PyruncError(INVALID, "specify only one -H")
        address = hosts[0] if hosts else environment("DOCKER_HOST")
        if address:
            return self._dial_asked_for(address)
        if not self._asks_for_local():
            dial = dial_unix(DEFAULT_SOCKET)
            try:
                return _beginning_with(dial(), dial)
            except PyruncError as error:
                if error.why not in _NOBODY_LISTENS:
                    raise
        return self._open_local()

    def _asks_for_local(self) -> bool:
        return any(self.given[name] for name in ("data-root", "exec-root", "config-file"))

    def _dial_asked_for(self, address: str) -> Dial:
        scheme, name, port = parse_address(address)
        if scheme == "unix":
            return dial_unix(name)
        directory = environment("DOCKER_CERT_PATH") or self.configuration
        files = [
            absolute(self.given[flag] or f"{directory}/{default}")
            for flag, default in (("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem"))
        ]
        secure: Any = __import__("pyrunc.api.secure", fromlist=("",))
        dial: Dial = secure.dial_tls(name, port, *files)
        return dial

    def _open_local(self) -> Dial:
        if posix.geteuid() != 0:
            raise PyruncError(
                DENIED,
                "no daemon runs, and only root can make containers without one",
                hint=f"start pyruncd, which listens at {DEFAULT_SOCKET}, or call pyr as root",
            )
        words = [
            f"--{name}={self.given[name]}"
            for name in ("data-root", "exec-root", "config-file")
            if self.given[name]
        ]
        reach()
        local: Any = __import__("pyrunc.api.local", fromlist=("",))
        self.is_local = True
        dial: Dial = local.open_as_told(words)
        return dial
