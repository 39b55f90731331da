"""What goes on in the engine and its containers, for those who watch."""

from __future__ import annotations

import os
import subprocess
import time

from pyrunc.engine.logs import parse_moment
from pyrunc.engine.statistics import make_stats
from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, PyruncError, doing
from pyrunc.oci.state import format_time
from pyrunc.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.containers import Containers
    from pyrunc.engine.events import Bus, Event, Subscription
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.model import Container

_PS_SECONDS = 10


class Observer:
    interval_seconds = 1.0  # between two samples

    def __init__(self, layout: Layout, bus: Bus, containers: Containers) -> None:
        self._layout, self._bus, self._containers = layout, bus, containers

    # --- events -----------------------------------------------------------------------------------

    def events(
        self, *, since: str, until: str, filters: dict[str, tuple[str, ...]]
    ) -> tuple[Subscription, list[Event], int]:
        """Those from now on; those since a time; and until when, in ns, 0 for no end. Raises PyruncError."""
        since_ns, until_ns = parse_moment(since), parse_moment(until)

        def wants(event: Event) -> bool:
            return is_wanted(event, filters)

        subscription = self._bus.subscribe(wants)
        try:
            past = []
            if since_ns or (until_ns and until_ns < time.time_ns()):
                found = self._bus.past(since_ns, until_ns or time.time_ns())
                past = [event for event in found if wants(event)]
        except BaseException:
            subscription.close()
            raise
        return subscription, past, until_ns

    # --- processes --------------------------------------------------------------------------------

    def top(self, text: str, options: str) -> tuple[list[str], list[list[str]]]:
        """(titles, a row for each process), by the host's `ps`. Raises PyruncError CONFLICT if it does not
        run."""
        container = self._containers.find(text)
        if not self._containers.state(container).is_running:
            raise PyruncError(CONFLICT, f"container {container.id} is not running")
        pids = set(protocol.call(self._layout.container(container.id), "ps")["pids"])
        with doing("run ps"):
            done = subprocess.run(
                ["ps", *options.split()], capture_output=True, timeout=_PS_SECONDS, check=False, text=True,
                errors="replace", stdin=subprocess.DEVNULL,
            )  # fmt: skip
        if done.returncode:
            raise PyruncError(INVALID, "error running ps", "", done.stderr.strip())
        return parse_ps(done.stdout, pids)

    # --- statistics -------------------------------------------------------------------------------

    def sample(self, container: Container) -> dict[str, Any] | None:
        """What it uses just now; None if it does not run."""
        state = self._containers.state(container)
        if not state.is_running:
            return None
        try:
            stats = protocol.call(self._layout.container(container.id), "stats")["stats"]
        except PyruncError as error:
            if error.kind != NOT_FOUND:
                raise
            return None
        return {
            "read": format_time(time.time_ns()),
            "data": stats.get("data", stats),
            "system_ns": _system_ns(),
            "networks": _interfaces(state.pid),
        }

    def stats(
        self, container: Container, before: dict[str, Any] | None, now: dict[str, Any] | None
    ) -> dict[str, Any]:
        return {
            "name": f"/{container.name}",
            "id": container.id,
            **make_stats(before, now, cpus=os.cpu_count() or 1, memory=_memory_bytes()),
        }


def is_wanted(event: Event, filters: dict[str, tuple[str, ...]]) -> bool:
    """Filters of different names must all fit, of one name any value."""
    name = event.attributes.get("name", "")
    for key, values in filters.items():
        if key == "type":
            fits = event.kind in values
        elif key == "event":
            fits = event.action in values or event.action.partition(":")[0] in values
        elif key == "label":
            fits = all(_has_label(event.attributes, value) for value in values)
        elif key == "scope":
            fits = "local" in values
        elif key in ("plugin", "daemon"):
            fits = event.kind == key
        elif key == "image" and event.kind == "container":
            image = event.attributes.get("image", "")
            fits = any(value in (image, image.partition(":")[0]) for value in values)
        else:
            fits = event.kind == key and any(
                value in (event.id, name, name.partition(":")[0]) or event.id.startswith(value)
                for value in values
            )
            if key == "container" and event.kind == "network":
                fits = event.attributes.get("container") in values
        if not fits:
            return False
    return True


def _has_label(attributes: dict[str, str], text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in attributes and (not equals or attributes[key] == value)


def parse_ps(text: str, pids: set[int]) -> tuple[list[str], list[list[str]]]:
    """The last column is the rest of its line. Raises PyruncError INVALID without a PID column."""
    first, *lines = text.splitlines() or [""]
    titles = first.split()
    if "PID" not in titles:
        raise PyruncError(INVALID, "Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = []
    for line in lines:
        row = line.split(None, len(titles) - 1)
        if len(row) > column and row[column].isdigit() and int(row[column]) in pids:
            rows.append(row)
    return titles, rows


def _system_ns() -> int:
    """All that the host's processors have done (proc(5), in ticks of 10 ms)."""
    with open("/proc/stat", encoding="ascii") as file:
        return sum(map(int, file.readline().split()[1:9])) * 10_000_000


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_COUNTERS = (
    (0, "rx_bytes"), (1, "rx_packets"), (2, "rx_errors"), (3, "rx_dropped"),
    (8, "tx_bytes"), (9, "tx_packets"), (10, "tx_errors"), (11, "tx_dropped"),
)  # fmt: skip


def _interfaces(pid: int) -> dict[str, dict[str, int]]:
    """Of its network namespace, but for the loopback."""
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            lines = file.readlines()[2:]
    except OSError:  # it has just ended
        return {}
    found = {}
    for line in lines:
        name, _, numbers = line.partition(":")
        values = numbers.split()
        if name.strip() != "lo":
            found[name.strip()] = {word: int(values[index]) for index, word in _COUNTERS}
    return found
