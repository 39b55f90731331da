"""A container's log as its users ask for it: some streams, from a time to another, the last lines, and
following."""

from __future__ import annotations

import os
from datetime import datetime

from pyrunc.errors import INVALID, PyruncError
from pyrunc.record import Record
from pyrunc.shim import logreader, protocol, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrunc.engine.containers import Containers
    from pyrunc.engine.layout import Layout
    from pyrunc.shim.logreader import Entry

_NS = 1_000_000_000


class Wanted(Record):
    """`tail`: that many entries of the log, -1 all; times in ns since 1970, 0: none."""

    stdout: bool = True
    stderr: bool = True
    tail: int = -1
    since_ns: int = 0
    until_ns: int = 0
    follow: bool = False


class Logs:
    def __init__(self, layout: Layout, containers: Containers) -> None:
        self._layout, self._containers = layout, containers

    def read(
        self,
        text: str,
        *,
        stdout: bool = True,
        stderr: bool = True,
        tail: int = -1,
        since: str = "",
        until: str = "",
        follow: bool = False,
        peer: int = -1,
    ) -> Iterator[Entry]:
        """Nothing is read before the first is asked for. `peer`: while following, it is over when this
        descriptor can be read. Raises PyruncError at once for what can't be."""
        wanted = Wanted(
            stdout=stdout,
            stderr=stderr,
            tail=tail,
            since_ns=parse_moment(since),
            until_ns=parse_moment(until),
            follow=follow,
        )
        container = self._containers.find(text)
        directory = self._layout.container(container.id)
        if container.host["LogConfig"]["Type"] == "none":
            raise PyruncError(INVALID, "configured logging driver does not support reading")
        path = f"{directory}/{protocol.SETTINGS_FILE}"
        if not os.path.exists(path):
            return iter(())
        log = settings.load(path).log
        if not os.path.exists(log.path):
            return iter(())
        return self._entries(directory, log, wanted, peer)

    def _entries(
        self, directory: str, log: settings.LogSettings, wanted: Wanted, peer: int
    ) -> Iterator[Entry]:
        if not wanted.follow:
            yield from (entry for entry in logreader.read(log, tail=wanted.tail) if _wants(wanted, entry))
            return
        follower = logreader.Follower(directory, log, tail=wanted.tail, stop_fd=peer)
        try:
            for entry in follower.entries():
                if wanted.until_ns and time_ns(entry.time) > wanted.until_ns:
                    return
                if _wants(wanted, entry):
                    yield entry
        finally:
            follower.close()


def _wants(wanted: Wanted, entry: Entry) -> bool:
    if not (wanted.stdout if entry.stream == 1 else wanted.stderr):
        return False
    if not wanted.since_ns and not wanted.until_ns:
        return True
    moment = time_ns(entry.time)
    return moment >= wanted.since_ns and (not wanted.until_ns or moment <= wanted.until_ns)


def time_ns(text: str) -> int:
    """RFC 3339 as ns since 1970; 0 for what is none."""
    try:
        return logreader.parse_time(text)
    except (ValueError, KeyError, IndexError):
        return 0


def parse_moment(text: str) -> int:
    """`since` and `until` of the API: seconds, seconds.nanoseconds or RFC 3339, as ns; 0 for none. Raises
    PyruncError INVALID."""
    if not text:
        return 0
    seconds, _, fraction = text.partition(".")
    if seconds.lstrip("-").isdigit() and (not fraction or fraction.isdigit()):
        return int(seconds) * _NS + int((fraction[:9] or "0").ljust(9, "0"))
    try:
        return int(datetime.fromisoformat(text).timestamp() * _NS)
    except ValueError:
        raise PyruncError(INVALID, f"invalid time: {text!r}") from None
