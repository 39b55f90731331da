"""Where a registry is asked: its mirrors first, then itself, by https and, where that is allowed, by http.
Pure.

A loopback address may always be spoken to without a valid certificate and by plain http, others when they are
listed as insecure. https is tried first even so.
"""

from __future__ import annotations

import ipaddress
import urllib.parse

from pyrunc.errors import INVALID, PyruncError
from pyrunc.oci.reference import DEFAULT_REGISTRY
from pyrunc.record import Record, replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.image.options import Mirror, Registries

_DEFAULT_HOST = "registry-1.docker.io"  # where docker.io's registry is


class Endpoint(Record):
    """`url`: scheme://host[:port][/prefix], without a slash at the end. `registry`: whose it is, for
    credentials."""

    url: str
    registry: str
    verify: bool = True
    certificates: str = ""
    rewrite: tuple[str, str] = ("", "")
    is_mirror: bool = False
    attempts: int = 6  # to connect: fewer where there is another way

    def repository(self, path: str) -> str:
        """The name that a repository has there."""
        old, new = self.rewrite
        if old and (path == old or path.startswith(old.rstrip("/") + "/")):
            return new.rstrip("/") + path[len(old.rstrip("/")) :]
        return path


def plan_endpoints(registry: str, registries: Registries, *, mirrors: bool) -> tuple[Endpoint, ...]:
    """In the order in which they are tried. Mirrors are for reading alone. Raises INVALID for a mirror whose
    address is none."""
    found: list[Endpoint] = []
    if mirrors:
        for name, listed in registries.mirrors:
            if name in (registry, "*"):
                for mirror in listed:
                    found += _mirror(mirror, registries)
    host = _DEFAULT_HOST if registry == DEFAULT_REGISTRY else registry
    return (*found, *_both(host, registry, registries, insecure=is_insecure(registry, registries.insecure)))


def _both(host: str, registry: str, registries: Registries, *, insecure: bool) -> list[Endpoint]:
    certificates = f"{registries.certificates}/{host}" if registries.certificates else ""
    secure = Endpoint(
        url=f"https://{host}",
        registry=registry,
        verify=not insecure,
        certificates=certificates,
        attempts=1 if insecure else 6,
    )
    return [secure, Endpoint(url=f"http://{host}", registry=registry, verify=False)] if insecure else [secure]


def _mirror(mirror: Mirror, registries: Registries) -> list[Endpoint]:
    parts = urllib.parse.urlsplit(mirror.url if "://" in mirror.url else f"//{mirror.url}")
    if not parts.hostname or parts.scheme not in ("", "http", "https") or parts.query or parts.username:
        raise PyruncError(INVALID, "invalid mirror", mirror.url, "scheme://host[:port][/prefix] is expected")
    prefix = parts.path.rstrip("/")
    insecure = mirror.insecure or is_insecure(parts.netloc, registries.insecure)
    found = []
    for endpoint in _both(
        parts.netloc, parts.netloc, registries, insecure=insecure or parts.scheme == "http"
    ):
        if not parts.scheme or endpoint.url.startswith(f"{parts.scheme}://"):
            url = endpoint.url + prefix
            rewrite = mirror.rewrite
            found.append(replaced(endpoint, url=url, rewrite=rewrite, is_mirror=True, attempts=2))
    return found


def is_insecure(registry: str, listed: tuple[str, ...]) -> bool:
    """Whether `registry` (host[:port]) is a loopback address, or among `listed`: hosts, host:port,
    networks."""
    host = urllib.parse.urlsplit(f"//{registry}").hostname or ""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None and address.is_loopback:
        return True
    for item in listed:
        if item in (registry, host):
            return True
        if address is not None and "/" in item:
            try:
                if address in ipaddress.ip_network(item, strict=False):
                    return True
            except ValueError:
                raise PyruncError(INVALID, "invalid insecure registry", item, "it is no network") from None
    return False
