"""pyr container, image, network, volume and system prune: take away what nobody uses."""

from __future__ import annotations

import sys

from pyrunc.docker.filters import make_filters
from pyrunc.docker.output import emit, line
from pyrunc.docker.units import human_size
from pyrunc.docker.words import Verb
from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.options import TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.docker.session import Session

    Given = dict[str, Any]

_FORCE = Flag(name="force", short="f", summary="Do not ask.")
_FILTER = Flag(name="filter", kind=TEXTS, summary="Only some: until=24h, label=a=b …")
_NETWORK_WARNING = "This will remove all custom networks not used by at least one container."
_SURE = "Are you sure you want to continue? [y/N] "


def _confirmed(given: Given, warning: str) -> bool:
    """Docker takes no answer for a no, and so do we."""
    if given["force"]:
        return True
    emit(f"WARNING! {warning}\n{_SURE}")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _verb(name: str, summary: str, *flags: Flag) -> Verb:
    return Verb(name=name, summary=summary, usage="[OPTIONS]", flags=(*flags, _FILTER, _FORCE))


# --- each of them: (lines about what was removed, bytes) -------------------------------------------


def _containers(session: Session, given: Given) -> tuple[str, int]:
    answer = session.post("/containers/prune", query={"filters": make_filters(given["filter"]) or None})
    return _list("Deleted Containers:", answer["ContainersDeleted"]), answer["SpaceReclaimed"]


def _images(session: Session, given: Given) -> tuple[str, int]:
    filters = make_filters(given["filter"], dangling="false" if given["all"] else "true")
    answer = session.post("/images/prune", query={"filters": filters})
    removed = [
        f"{action.lower()}: {name}" for one in answer["ImagesDeleted"] or () for action, name in one.items()
    ]
    return _list("Deleted Images:", removed), answer["SpaceReclaimed"]


def _networks(session: Session, given: Given) -> tuple[str, int]:
    answer = session.post("/networks/prune", query={"filters": make_filters(given["filter"]) or None})
    return _list("Deleted Networks:", answer["NetworksDeleted"]), 0


def _volumes(session: Session, given: Given) -> tuple[str, int]:
    filters = make_filters(given["filter"], **({"all": "true"} if given["all"] else {}))
    answer = session.post("/volumes/prune", query={"filters": filters or None})
    return _list("Deleted Volumes:", answer["VolumesDeleted"]), answer["SpaceReclaimed"]


def _list(title: str, names: list[str] | None) -> str:
    return "\n".join((title, *names, "")) + "\n" if names else ""


def _pruning(
    prune: Callable[[Session, Given], tuple[str, int]],
    warn: Callable[[Given], str],
    *,
    shows_size: bool = True,
) -> Callable[[Session, Given], int]:
    def run(session: Session, given: Given) -> int:
        if not _confirmed(given, warn(given)):
            return 0
        text, reclaimed = prune(session, given)
        emit(text)
        if shows_size:
            line(f"Total reclaimed space: {human_size(reclaimed)}")
        return 0

    return run


def system(session: Session, given: Given) -> int:
    if not _confirmed(given, _system_warning(given)):
        return 0
    total = 0
    for prune in (_containers, _networks, _volumes if given["volumes"] else None, _images):
        if prune is None:
            continue
        unnamed = {**given, "all": given["all"] and prune is _images}  # volumes: anonymous ones alone
        text, reclaimed = prune(session, unnamed)
        emit(text)
        total += reclaimed
    try:
        total += (session.post("/build/prune", query={"all": given["all"]}) or {}).get("SpaceReclaimed", 0)
    except PyruncError as error:
        if error.kind != UNSUPPORTED:  # without a builder there is no cache of it
            raise
    line(f"Total reclaimed space: {human_size(total)}")
    return 0


def _system_warning(given: Given) -> str:
    images = "images without at least one container associated to them" if given["all"] else "dangling images"
    volumes = "  - all anonymous volumes not used by at least one container\n" if given["volumes"] else ""
    return (
        "This will remove:\n  - all stopped containers\n"
        f"  - all networks not used by at least one container\n{volumes}  - all {images}\n"
    )


def _image_warning(given: Given) -> str:
    if given["all"]:
        return "This will remove all images without at least one container associated to them."
    return "This will remove all dangling images."


def _volume_warning(given: Given) -> str:
    kind = "volumes" if given["all"] else "anonymous local volumes"
    return f"This will remove {kind} not used by at least one container."


_ALL_IMAGES = Flag(name="all", short="a", summary="All that no container uses, not just dangling ones.")
_ALL_VOLUMES = Flag(name="all", short="a", summary="All that no container uses, not just anonymous ones.")

COMMANDS = {
    "container prune": (
        _verb("container prune", "Remove containers that do not run."),
        _pruning(_containers, lambda _: "This will remove all stopped containers."),
    ),
    "image prune": (_verb("image prune", "Remove images that nobody uses.", _ALL_IMAGES),
                    _pruning(_images, _image_warning)),
    "network prune": (
        _verb("network prune", "Remove networks that no container uses."),
        _pruning(_networks, lambda _: _NETWORK_WARNING,
                 shows_size=False),
    ),
    "volume prune": (_verb("volume prune", "Remove volumes that no container uses.", _ALL_VOLUMES),
                     _pruning(_volumes, _volume_warning)),
    "system prune": (
        _verb("system prune", "Remove containers, networks and images that nobody uses.", _ALL_IMAGES,
              Flag(name="volumes", summary="Anonymous volumes as well.")),
        system,
    ),
}  # fmt: skip
