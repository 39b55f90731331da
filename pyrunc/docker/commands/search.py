"""pyr search: images that registries have."""

from __future__ import annotations

from pyrunc.docker.credentials import auth_header
from pyrunc.docker.filters import make_filters
from pyrunc.docker.table import show_list
from pyrunc.docker.units import ellipsis
from pyrunc.docker.words import Verb
from pyrunc.options import TEXT, TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

SEARCH = Verb(
    name="search",
    summary="Search docker.io, or the registry that TERM begins with, for images.",
    usage="[OPTIONS] TERM",
    least=1,
    most=1,
    flags=(
        Flag(name="filter", short="f", kind=TEXTS, summary="Only some: is-official=true, stars=3."),
        Flag(name="format", kind=TEXT, summary="A template of Go's."),
        Flag(name="limit", kind=TEXT, summary="As many at most (default 25)."),
        Flag(name="no-trunc", summary="Whole descriptions."),
    ),
)
_COLUMNS = (
    ("Name", "NAME"), ("Description", "DESCRIPTION"), ("StarCount", "STARS"), ("IsOfficial", "OFFICIAL"),
)  # fmt: skip
_DESCRIPTION_WIDTH = 45


def search(session: Session, given: dict[str, Any]) -> int:
    (term,) = given["words"]
    query = {
        "term": term,
        "limit": given["limit"] or None,
        "filters": make_filters(given["filter"]) or None,
    }
    headers = auth_header(session.configuration, term)
    found = session.get("/images/search", query=query, headers=headers)
    rows = [_row(one, is_whole=given["no-trunc"]) for one in found]
    show_list(rows, _COLUMNS, given["format"], {})
    return 0


def _row(one: dict[str, Any], *, is_whole: bool) -> dict[str, Any]:
    description = " ".join(one["description"].split())
    return {
        "Name": one["name"],
        "Description": description if is_whole else ellipsis(description, _DESCRIPTION_WIDTH),
        "StarCount": str(one["star_count"]),
        "IsOfficial": "[OK]" if one["is_official"] else "",
        "IsAutomated": "[OK]" if one["is_automated"] else "",
    }


COMMANDS = {"search": (SEARCH, search)}
