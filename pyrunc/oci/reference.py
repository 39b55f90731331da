"""References to images: `registry/path[:tag][@digest]`, as typed and in full.

The grammar is that of the distribution project. What people type is short ("busybox"); what we keep is in
full ("docker.io/library/busybox:latest"); what we show is short again, as docker shows it.
"""

from __future__ import annotations

import re

from pyrunc.errors import INVALID, PyruncError
from pyrunc.oci.digest import require_digest
from pyrunc.record import Record, replaced

DEFAULT_REGISTRY, DEFAULT_NAMESPACE, DEFAULT_TAG = "docker.io", "library", "latest"
_ALIASES = {"index.docker.io": DEFAULT_REGISTRY, "registry-1.docker.io": DEFAULT_REGISTRY}
_MAXIMUM_NAME = 255

_REGISTRY = re.compile(
    r"(?:\[[0-9a-fA-F:]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)"
    r"(?::[0-9]+)?"
)
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class Reference(Record):
    """`registry` and `path` together are the repository. At least one of `tag` and `digest` is set, unless
    the reference was asked to stay bare."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        return f"{self.registry}/{self.path}"

    @property
    def full(self) -> str:
        return f"{self.repository}{self._suffix()}"

    @property
    def familiar_repository(self) -> str:
        if self.registry != DEFAULT_REGISTRY:
            return self.repository
        return self.path.removeprefix(f"{DEFAULT_NAMESPACE}/")

    @property
    def familiar(self) -> str:
        """As docker shows it: busybox:latest."""
        return f"{self.familiar_repository}{self._suffix()}"

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str, *, default_tag: str = DEFAULT_TAG) -> Reference:
    """What was typed, in full; without a tag and a digest it gets `default_tag` ("" to leave it bare).

    Raises INVALID with docker's words, "invalid reference format".
    """
    rest, at, digest = text.partition("@")
    if at:
        require_digest(digest, text)
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    elif not _TAG.fullmatch(tag):
        raise _wrong(text, "the tag is not valid")
    registry, path = _split(name)
    if path.lower() != path:
        raise PyruncError(INVALID, "invalid reference format: repository name must be lowercase", text[:300])
    if not _REGISTRY.fullmatch(registry) or not _PATH.fullmatch(path):
        raise _wrong(text, "")
    if len(registry) + len(path) + 1 > _MAXIMUM_NAME:
        raise _wrong(text, f"the name is longer than {_MAXIMUM_NAME} characters")
    if len(name) == 64 and not (set(name) - set("0123456789abcdef")):
        raise PyruncError(INVALID, "invalid repository name", text, "it cannot be 64 hex digits")
    return Reference(registry=registry, path=path, tag=tag or ("" if digest else default_tag), digest=digest)


def _wrong(text: str, why: str) -> PyruncError:
    return PyruncError(INVALID, "invalid reference format", text[:300], why)


def _split(name: str) -> tuple[str, str]:
    """The first component is a registry if it looks like a host: with a dot, a port, or `localhost`."""
    first, slash, rest = name.partition("/")
    is_host = slash and (first == "localhost" or "." in first or ":" in first or first.lower() != first)
    registry, path = (first, rest) if is_host else (DEFAULT_REGISTRY, name)
    registry = _ALIASES.get(registry, registry)
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"{DEFAULT_NAMESPACE}/{path}"
    return registry, path


def with_digest(reference: Reference, digest: str) -> Reference:
    """The same repository, by digest alone."""
    return replaced(reference, tag="", digest=digest)


def parse_full(text: str) -> Reference:
    """What `Reference.full` gave."""
    return parse_reference(text, default_tag="")
