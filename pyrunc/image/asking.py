"""What is asked of registries without pulling: do credentials do, which repositories are there, what an image
is.

The search of docker.io is an interface of its own, older than the distribution API, and so is that of some
other registries; where there is none, the catalogue is looked through.
"""

from __future__ import annotations

import json
import urllib.parse

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.image.endpoints import plan_endpoints
from pyrunc.image.fetch import Remote
from pyrunc.image.http import Client, require_not_busy, retried
from pyrunc.image.registry import Repository, Unreachable
from pyrunc.oci.image import (
    INDEXES,
    MAXIMUM_CONFIG,
    describe,
    document_type,
    parse_image_config,
    parse_index,
    parse_manifest,
)
from pyrunc.oci.reference import DEFAULT_REGISTRY
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    from pyrunc.image.http import Response
    from pyrunc.image.options import Credentials, PullOptions, Registries
    from pyrunc.oci.image import Descriptor, Platform
    from pyrunc.oci.reference import Reference

    _T = TypeVar("_T")

_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HUB_SEARCH = "https://index.docker.io"
_HUB_ATTEMPTS = 2
_MAXIMUM_ANSWER = 4 << 20
_CATALOG_SCOPE = "registry:catalog:*"


class Found(Record):
    name: str
    description: str = ""
    stars: int = 0
    is_official: bool = False
    is_automated: bool = False


def registry_of(server: str) -> str:
    """Of an address as clients have it: "https://index.docker.io/v1/", "localhost:5000"."""
    host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DEFAULT_REGISTRY if not host or host in _HUB_NAMES else host


def check_credentials(server: str, credentials: Credentials, registries: Registries) -> None:
    """Raises DENIED if the registry refuses them, and what keeps us from asking it."""

    def check(repository: Repository) -> None:
        with repository.ask("GET", f"{repository.endpoint.url}/v2/") as response:
            if response.status == 200:
                return
            raise repository.refusal(response, f"login attempt to {response.url} failed")

    _at_first(registry_of(server), credentials, registries, (), check)


def search(
    term: str, limit: int, credentials: Credentials | None, registries: Registries
) -> tuple[Found, ...]:
    """Repositories with `term` in their names, which may begin with a registry's. Raises UNSUPPORTED where it
    can't be searched, DENIED."""
    first, slash, rest = term.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, text = (registry_of(first), rest) if is_host else (DEFAULT_REGISTRY, term)

    def look(repository: Repository) -> tuple[Found, ...]:
        found = _search_by_index(lambda url: repository.ask("GET", url), repository.endpoint.url, text, limit)
        return _search_catalog(repository, text, limit) if found is None else found

    if registry == DEFAULT_REGISTRY:
        return _search_hub(text, limit)
    found = _at_first(registry, credentials, registries, (_CATALOG_SCOPE,), look)
    return tuple(Found(**{**one.__dict__, "name": f"{registry}/{one.name}"}) for one in found)


def _search_hub(text: str, limit: int) -> tuple[Found, ...]:
    client = Client()

    def ask(url: str) -> Response:
        return retried(
            "docker.io can't be searched",
            _HUB_SEARCH,
            lambda: require_not_busy(client.request("GET", url, {})),
            attempts=_HUB_ATTEMPTS,
        )

    try:
        found = _search_by_index(ask, _HUB_SEARCH, text, limit)
    finally:
        client.close()
    if found is None:
        raise PyruncError(UNSUPPORTED, "docker.io doesn't answer as a search does", _HUB_SEARCH)
    return found


def _at_first(
    registry: str,
    credentials: Credentials | None,
    registries: Registries,
    scopes: tuple[str, ...],
    do: Callable[[Repository], _T],
) -> _T:
    """At the first endpoint that answers. Raises Unreachable where none does."""
    endpoints = plan_endpoints(registry, registries, mirrors=False)
    for number, endpoint in enumerate(endpoints, 1):
        repository = Repository(endpoint, "", credentials, scopes=scopes)
        try:
            repository.connect()
            return do(repository)
        except Unreachable:
            if number == len(endpoints):
                raise
        finally:
            repository.close()
    raise AssertionError("a registry has an endpoint")


def _search_by_index(
    ask: Callable[[str], Response], base: str, text: str, limit: int
) -> tuple[Found, ...] | None:
    """By /v1/search; None where there is no such thing."""
    query = urllib.parse.urlencode({"q": text, "n": limit})
    with ask(f"{base}/v1/search?{query}") as response:
        if response.status != 200:
            return None
        data, where = response.read(_MAXIMUM_ANSWER), response.url
    results = _object(data, where).get("results")
    if not isinstance(results, list):
        return None
    return tuple(_found(one) for one in results[:limit] if isinstance(one, dict))


def _found(one: dict[str, Any]) -> Found:
    stars = one.get("star_count")
    return Found(
        name=str(one.get("name") or ""),
        description=str(one.get("description") or ""),
        stars=stars if isinstance(stars, int) else 0,
        is_official=one.get("is_official") is True,
        is_automated=one.get("is_automated") is True,
    )


def _search_catalog(repository: Repository, text: str, limit: int) -> tuple[Found, ...]:
    found = []
    for name in _catalog(repository):
        if text in name:
            found.append(Found(name=name))
            if len(found) == limit:
                break
    return tuple(found)


def _catalog(repository: Repository) -> Iterator[str]:
    url = f"{repository.endpoint.url}/v2/_catalog"
    for data, where in repository.pages(url, f"{repository.endpoint.url} can't be searched"):
        names = _object(data, where).get("repositories") or []
        yield from (name for name in names if isinstance(name, str))


def _object(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise PyruncError(INVALID, "registry's answer is not understood", where) from error
    if not isinstance(value, dict):
        raise PyruncError(INVALID, "registry's answer is not understood", where)
    return value


def look_up(reference: Reference, options: PullOptions) -> tuple[Descriptor, tuple[Platform, ...]]:
    """What a pull of `reference` begins with, and for which platforms it is. Raises NOT_FOUND, DENIED."""
    remote = Remote(reference, options)
    try:
        data, said = remote.manifest(reference.digest or reference.tag)
        found = describe(document_type(data, said), data)
        if found.media_type in INDEXES:
            index = parse_index(data, found.media_type)
            return found, tuple(item.platform for item in index.manifests if item.platform)
        manifest = parse_manifest(data, found.media_type)
        return found, (parse_image_config(remote.small_blob(manifest.config, MAXIMUM_CONFIG)).platform,)
    finally:
        remote.close()
