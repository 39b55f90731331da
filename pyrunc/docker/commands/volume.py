"""pyr volume create, ls, rm."""

from __future__ import annotations

from pyrunc.docker.commands.verbs import for_each
from pyrunc.docker.filters import make_filters
from pyrunc.docker.output import line
from pyrunc.docker.pairs import to_map
from pyrunc.docker.table import show_list
from pyrunc.docker.words import Verb
from pyrunc.errors import NOT_FOUND, PyruncError
from pyrunc.options import TEXT, TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

    Given = dict[str, Any]

CREATE = Verb(
    name="volume create",
    summary="Create a volume.",
    usage="[OPTIONS] [VOLUME]",
    most=1,
    flags=(
        Flag(name="driver", short="d", kind=TEXT, default="local", summary="Its driver."),
        Flag(name="label", kind=TEXTS, summary="A label: NAME=VALUE."),
        Flag(name="name", kind=TEXT, summary="Its name.", hidden=True),
        Flag(name="opt", short="o", kind=TEXTS, summary="Option of the driver: NAME=VALUE."),
    ),
)
LS = Verb(
    name="volume ls",
    summary="List volumes.",
    usage="[OPTIONS]",
    flags=(
        Flag(name="filter", short="f", kind=TEXTS, summary="Only some: dangling=true, name=data …"),
        Flag(name="format", kind=TEXT, summary="table, json, or a template of Go's."),
        Flag(name="quiet", short="q", summary="Only names."),
    ),
)
RM = Verb(
    name="volume rm",
    summary="Remove volumes.",
    usage="[OPTIONS] VOLUME [VOLUME...]",
    least=1,
    most=-1,
    flags=(Flag(name="force", short="f", summary="One that is not there is no error."),),
)


def create(session: Session, given: Given) -> int:
    name = given["words"][0] if given["words"] else given["name"]
    body = {
        "Name": name,
        "Driver": given["driver"],
        "DriverOpts": to_map(given["opt"]),
        "Labels": to_map(given["label"]),
    }
    line(session.post("/volumes/create", body=body)["Name"])
    return 0


def ls(session: Session, given: Given) -> int:
    answer = session.get("/volumes", query={"filters": make_filters(given["filter"]) or None})
    found = sorted(answer["Volumes"] or (), key=lambda one: one["Name"])
    headers: dict[str, Any] = {
        "Labels": "LABELS", "Mountpoint": "MOUNTPOINT", "Scope": "SCOPE", "Label": lambda name: name,
    }  # fmt: skip
    columns = (("Driver", "DRIVER"), ("Name", "VOLUME NAME"))
    show_list(map(make_row, found), columns, given["format"], headers, quiet="Name" if given["quiet"] else "")
    return 0


def make_row(one: dict[str, Any]) -> dict[str, Any]:
    labels = one.get("Labels") or {}
    return {
        "Driver": one["Driver"],
        "Name": one["Name"],
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "Label": lambda name: labels.get(name, ""),
        "Mountpoint": one["Mountpoint"],
        "Scope": one.get("Scope", "local"),
    }


def remove(session: Session, given: Given) -> int:
    def one(name: str) -> None:
        try:
            session.delete(f"/volumes/{name}", query={"force": given["force"]})
        except PyruncError as error:
            if not (given["force"] and error.kind == NOT_FOUND):
                raise

    return for_each(given["words"], one)


COMMANDS = {"volume create": (CREATE, create), "volume ls": (LS, ls), "volume rm": (RM, remove)}
