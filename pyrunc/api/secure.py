"""TLS for the API's client: a module of its own, for `ssl` and `socket` are dear to import."""

from __future__ import annotations

import ssl
from socket import create_connection

from pyrunc.api.client import cannot_connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

    from pyrunc.api.client import Dial

_CONNECT_SECONDS = 10.0


def dial_tls(host: str, port: int, ca: str, certificate: str, key: str) -> Dial:
    """The last three: names of PEM files."""
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)

    def dial() -> socket:
        try:
            plain = create_connection((host, port), _CONNECT_SECONDS)
            secure = context.wrap_socket(plain, server_hostname=host)
        except OSError as error:
            raise cannot_connect(f"tcp://{host}:{port}", error) from error
        secure.settimeout(None)
        return secure

    return dial
