"""pyr inspect, and its kind for each sort of thing: what the engine knows, as JSON or by a template."""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.api.status import HttpError
from pyrunc.docker.output import complain, emit
from pyrunc.docker.table import make_template, to_json
from pyrunc.docker.words import Verb
from pyrunc.errors import INVALID, NOT_FOUND, PyruncError
from pyrunc.options import TEXT, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.docker.session import Session

    Given = dict[str, Any]

# sort -> where it is asked for, in the order in which `inspect` tries them
_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}
_FORMAT = Flag(name="format", short="f", kind=TEXT, summary="json, or a template of Go's: '{{.State.Pid}}'.")
_SIZE = Flag(name="size", short="s", summary="Sizes, of containers.")


def _verb(name: str, summary: str, usage: str, *flags: Flag) -> Verb:
    return Verb(name=name, summary=summary, usage=usage, flags=(_FORMAT, *flags), least=1, most=-1)


def _ask(session: Session, sort: str, name: str, given: Given) -> Any:
    query = {"size": given.get("size", False), "verbose": given.get("verbose", False)}
    return session.get(_PATHS[sort].format(name), query={key: value for key, value in query.items() if value})


def _find(session: Session, name: str, given: Given) -> Any:
    """Of whichever sort has it. Raises PyruncError NOT_FOUND."""
    if given["type"] and given["type"] not in _PATHS:
        raise PyruncError(INVALID, f"unknown type: {given['type']}: must be one of {', '.join(_PATHS)}")
    for sort in [given["type"]] if given["type"] else _PATHS:
        try:
            return _ask(session, sort, name, given)
        except PyruncError as error:
            if error.kind not in (NOT_FOUND, INVALID):
                raise
    raise PyruncError(NOT_FOUND, f"No such {given['type'] or 'object'}: {name}")


def _inspect(session: Session, given: Given, ask: Callable[[str], Any]) -> int:
    """What was found is shown even where others were not, as a list that ends."""
    form = given["format"]
    template = make_template(form) if form and form != "json" else None
    found: list[Any] = []
    failed: list[str] = []
    for name in given["words"]:
        try:
            one = ask(name)
        except PyruncError as error:
            prefix = "Error response from daemon" if isinstance(error, HttpError) else "Error"
            failed.append(f"{prefix}: {error}")
            continue
        found.append(one)
        if template is not None:
            emit(template.apply(one) + "\n")
    if template is None:
        emit((to_json(found) if form else jsonio.dumps(found, 4)) + "\n")
    for text in failed:
        complain(text)
    return int(bool(failed))


def inspect(session: Session, given: Given) -> int:
    return _inspect(session, given, lambda name: _find(session, name, given))


def _of(sort: str) -> Callable[[Session, Given], int]:
    return lambda session, given: _inspect(session, given, lambda name: _ask(session, sort, name, given))


INSPECT = _verb(
    "inspect",
    "Show all about containers, images, networks or volumes.",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    _SIZE,
    Flag(name="type", kind=TEXT, summary="container, image, network or volume."),
)
_USAGE = "[OPTIONS] {} [{}...]"

COMMANDS = {
    "inspect": (INSPECT, inspect),
    "container inspect": (
        _verb("container inspect", "Show all about containers.", _USAGE.format("CONTAINER", "CONTAINER"),
              _SIZE),
        _of("container"),
    ),
    "image inspect": (
        _verb("image inspect", "Show all about images.", _USAGE.format("IMAGE", "IMAGE")),
        _of("image"),
    ),
    "network inspect": (
        _verb("network inspect", "Show all about networks.", _USAGE.format("NETWORK", "NETWORK"),
              Flag(name="verbose", short="v", summary="Still more.")),
        _of("network"),
    ),
    "volume inspect": (
        _verb("volume inspect", "Show all about volumes.", _USAGE.format("VOLUME", "VOLUME")),
        _of("volume"),
    ),
}  # fmt: skip
