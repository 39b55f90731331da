"""pyr events: what happens, as it happens."""

from __future__ import annotations

from pyrunc.docker.commands.logs import moment
from pyrunc.docker.filters import make_filters
from pyrunc.docker.output import line
from pyrunc.docker.table import make_template, to_json
from pyrunc.docker.words import Verb
from pyrunc.options import TEXT, TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

EVENTS = Verb(
    name="events",
    summary="Show what happens, as it happens.",
    usage="[OPTIONS]",
    flags=(
        Flag(name="filter", short="f", kind=TEXTS, summary="Only some: event=die, container=web …"),
        Flag(name="format", kind=TEXT, summary="json, or a template of Go's."),
        Flag(name="since", kind=TEXT, summary="What has happened since as well."),
        Flag(name="until", kind=TEXT, summary="End there."),
    ),
)


def events(session: Session, given: dict[str, Any]) -> int:
    form = given["format"]
    template = make_template(form) if form and form != "json" else None
    query = {
        "since": moment(given["since"]),
        "until": moment(given["until"]),
        "filters": make_filters(given["filter"]) or None,
    }
    with session.stream("GET", "/events", query=query) as answer:
        for event in answer.objects():
            if template is not None:
                line(template.apply(_with_names(event)))
            else:
                line(to_json(event) if form else show_event(event))
    return 0


def _with_names(event: dict[str, Any]) -> dict[str, Any]:
    """With the fields that Go's struct has beside those of the JSON, as templates name them."""
    return {
        "Time": event.get("time"), "TimeNano": event.get("timeNano"), "Scope": event.get("scope", ""),
        "Status": event.get("status", ""), "ID": event.get("id", ""), "From": event.get("from", ""), **event,
    }  # fmt: skip


def show_event(event: dict[str, Any]) -> str:
    """2025-05-30T12:07:14.123456789+00:00 container start 3f… (image=busybox, name=web)"""
    moment: Any = __import__("time")
    seconds, nanoseconds = divmod(event.get("timeNano") or event["time"] * 10**9, 10**9)
    local = moment.localtime(seconds)
    zone = moment.strftime("%z", local)
    stamp = f"{moment.strftime('%Y-%m-%dT%H:%M:%S', local)}.{nanoseconds:09}{zone[:3]}:{zone[3:]}"
    attributes = sorted((event["Actor"].get("Attributes") or {}).items())
    note = f" ({', '.join(f'{name}={value}' for name, value in attributes)})" if attributes else ""
    return f"{stamp} {event['Type']} {event['Action']} {event['Actor']['ID']}{note}"


COMMANDS = {"events": (EVENTS, events)}
