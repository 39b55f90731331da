"""pyr images, history: images in lists."""

from __future__ import annotations

from time import time

from pyrunc.docker.commands.ps import created_at
from pyrunc.docker.filters import make_filters, split_reference
from pyrunc.docker.table import show_list
from pyrunc.docker.units import ago, ellipsis, human_size, short_id
from pyrunc.docker.words import Verb
from pyrunc.options import TEXT, TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyrunc.docker.session import Session

IMAGES = Verb(
    name="images",
    summary="List images.",
    usage="[OPTIONS] [REPOSITORY[:TAG]]",
    most=1,
    flags=(
        Flag(name="all", short="a", summary="Those in between as well."),
        Flag(name="digests", summary="Their digests as well."),
        Flag(name="filter", short="f", kind=TEXTS, summary="Only some: dangling=true, reference='busy*' …"),
        Flag(name="format", kind=TEXT, summary="table, json, or a template of Go's."),
        Flag(name="no-trunc", summary="Whole ids."),
        Flag(name="quiet", short="q", summary="Only ids."),
    ),
)
HISTORY = Verb(
    name="history",
    summary="Show how an image was made.",
    usage="[OPTIONS] IMAGE",
    least=1,
    most=1,
    flags=(
        Flag(name="format", kind=TEXT, summary="table, json, or a template of Go's."),
        Flag(name="human", short="H", default=True, summary="Sizes and dates for people."),
        Flag(name="no-trunc", summary="Whole ids and commands."),
        Flag(name="quiet", short="q", summary="Only ids."),
    ),
)
_NONE = "<none>"
_HEADERS = {
    "CreatedAt": "CREATED AT", "Containers": "CONTAINERS", "Digest": "DIGEST", "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE", "VirtualSize": "SIZE",
}  # fmt: skip
_CREATED_BY_WIDTH = 45


def images(session: Session, given: dict[str, Any]) -> int:
    filters = make_filters(given["filter"])
    for reference in given["words"]:
        filters.setdefault("reference", {})[reference] = True
    found = session.get("/images/json", query={"all": given["all"], "filters": filters or None})
    now = time()
    with_digest = given["digests"] or ".Digest" in given["format"]
    rows = [
        row
        for one in found
        for row in make_rows(one, now, is_whole=given["no-trunc"], with_digest=with_digest)
    ]
    digest = (("Digest", "DIGEST"),) if given["digests"] else ()
    columns = (
        ("Repository", "REPOSITORY"), ("Tag", "TAG"), *digest, ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"), ("Size", "SIZE"),
    )  # fmt: skip
    show_list(rows, columns, given["format"], _HEADERS, quiet="ID" if given["quiet"] else "")
    return 0


def make_rows(
    one: dict[str, Any], now: float, *, is_whole: bool, with_digest: bool
) -> Iterator[dict[str, Any]]:
    """A row for each tag; one with <none> for an image that has none. Pure."""
    digests: dict[str, str] = {}
    for reference in one.get("RepoDigests") or ():
        name, _, digest = reference.partition("@")
        digests[name] = digest
    names = [split_reference(tag) for tag in one.get("RepoTags") or () if tag != "<none>:<none>"]
    tagged = {name for name, _ in names}
    if not names:
        names = [(name, _NONE) for name in digests if name != _NONE] or [(_NONE, _NONE)]
    elif with_digest:
        names += [(name, _NONE) for name in digests if name not in tagged and name != _NONE]
    for name, tag in names:
        yield {
            "Repository": name,
            "Tag": tag or _NONE,
            "Digest": digests.get(name, _NONE),
            "ID": one["Id"] if is_whole else short_id(one["Id"]),
            "CreatedSince": ago(one["Created"], now) if one["Created"] > 0 else "N/A",
            "CreatedAt": created_at(one["Created"]),
            "Size": human_size(one["Size"], 3),
            "VirtualSize": human_size(one["Size"], 3),
            "SharedSize": human_size(one["SharedSize"], 3) if one.get("SharedSize", -1) >= 0 else "N/A",
            "UniqueSize": "N/A",
            "Containers": str(one["Containers"]) if one.get("Containers", -1) >= 0 else "N/A",
        }


def history(session: Session, given: dict[str, Any]) -> int:
    found = session.get(f"/images/{given['words'][0]}/history")
    now = time()
    rows = [make_step(one, now, is_whole=given["no-trunc"], is_human=given["human"]) for one in found]
    columns = (
        ("ID", "IMAGE"), ("CreatedSince", "CREATED") if given["human"] else ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"), ("Size", "SIZE"), ("Comment", "COMMENT"),
    )  # fmt: skip
    headers = {"CreatedAt": "CREATED AT", "CreatedSince": "CREATED"}
    show_list(rows, columns, given["format"], headers, quiet="ID" if given["quiet"] else "")
    return 0


def make_step(one: dict[str, Any], now: float, *, is_whole: bool, is_human: bool) -> dict[str, Any]:
    made_by = one.get("CreatedBy", "").replace("\t", " ")
    return {
        "ID": one["Id"] if is_whole else short_id(one["Id"]),
        "CreatedSince": ago(one["Created"], now) if one["Created"] > 0 else "N/A",
        "CreatedAt": rfc3339(one["Created"]),
        "CreatedBy": made_by if is_whole else ellipsis(made_by, _CREATED_BY_WIDTH),
        "Size": human_size(one["Size"], 3) if is_human else str(one["Size"]),
        "Comment": one.get("Comment", ""),
    }


def rfc3339(seconds: float) -> str:
    moment: Any = __import__("time")
    text: str = moment.strftime("%Y-%m-%dT%H:%M:%S%z", moment.localtime(seconds))
    return f"{text[:-2]}:{text[-2:]}" if not text.endswith("+0000") else f"{text[:-5]}Z"


COMMANDS = {"images": (IMAGES, images), "history": (HISTORY, history)}
