"""What is asked of registries without pulling: credentials, searching, what an image there is."""

from __future__ import annotations

from pyrunc.api.call import Json
from pyrunc.api.status import HttpError
from pyrunc.errors import DENIED, INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.router import Route

    class Images(Protocol):
        def check_credentials(self, server: str, credentials: dict[str, Any]) -> None: ...
        def search(self, term: str, limit: int, credentials: dict[str, Any]) -> tuple[Any, ...]: ...
        def look_up(self, name: str, credentials: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]: ...

    class Needs(Protocol):
        images: Images


_MOST_FOUND, _FOUND = 100, 25
_SEARCH_FILTERS = ("is-automated", "is-official", "stars")


def check_credentials(engine: Needs, call: Call) -> Json:
    given = call.document()
    try:
        engine.images.check_credentials(str(given.get("serveraddress") or ""), given)
    except PyruncError as error:
        if error.kind != DENIED:
            raise
        raise HttpError(401, str(error)) from error
    return Json(value={"Status": "Login Succeeded", "IdentityToken": ""})


def search(engine: Needs, call: Call) -> Json:
    filters = call.filters(_SEARCH_FILTERS)
    term, limit = call.text("term"), call.number("limit", 0) or _FOUND
    if not term:
        raise PyruncError(INVALID, "what is to be searched for is missing")
    if not 0 < limit <= _MOST_FOUND:
        raise PyruncError(INVALID, f"limit {limit} is outside the range of [1, {_MOST_FOUND}]")
    found = engine.images.search(term, limit, call.header_document("X-Registry-Auth"))
    return Json(
        value=[
            {
                "name": one.name,
                "description": one.description,
                "star_count": one.stars,
                "is_official": one.is_official,
                "is_automated": one.is_automated,
            }
            for one in found
            if _is_wanted(one, filters)
        ]
    )


def _is_wanted(one: Any, filters: dict[str, tuple[str, ...]]) -> bool:
    """Raises PyruncError INVALID."""
    for name, has in (("is-official", one.is_official), ("is-automated", one.is_automated)):
        for text in filters.get(name, ()):
            if text.lower() not in ("true", "1", "false", "0"):
                raise PyruncError(INVALID, f"invalid filter '{name}={text}'")
            if has != (text.lower() in ("true", "1")):
                return False
    for text in filters.get("stars", ()):
        if not text.isdigit():
            raise PyruncError(INVALID, f"invalid filter 'stars={text}'")
        if one.stars < int(text):
            return False
    return True


def look_up(engine: Needs, call: Call) -> Json:
    descriptor, platforms = engine.images.look_up(call.names["name"], call.header_document("X-Registry-Auth"))
    return Json(
        value={
            "Descriptor": {
                "mediaType": descriptor.media_type,
                "digest": descriptor.digest,
                "size": descriptor.size,
            },
            "Platforms": [
                {
                    name: value
                    for name, value in (
                        ("architecture", one.architecture),
                        ("os", one.os),
                        ("variant", one.variant),
                    )
                    if value
                }
                for one in platforms
            ],
        }
    )


ROUTES: tuple[Route, ...] = (
    ("POST", "/auth", check_credentials),
    ("GET", "/images/search", search),
    ("GET", "/distribution/{name*}/json", look_up),
)
