"""Modules that are imported when something of them is first wanted:

    if TYPE_CHECKING:
        from pyrunc.network import wiring
    else:
        wiring = later("pyrunc.network.wiring")

For an engine in a command's own process: it pays for every import on every call, and of those that talk to
netlink or to registries most calls need none. A process that lives long fetches all of them at its start.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ALL: list[_Later] = []


class _Later:
    """Stands for a module. Getting anything of it imports it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: Any = None

    def fetch(self) -> Any:
        if self._module is None:
            self._module = __import__(self._name, fromlist=("",))
        return self._module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fetch(), name)


def later(name: str) -> Any:
    """The module `name`, in time."""
    made = _Later(name)
    _ALL.append(made)
    return made


def fetch_all() -> None:
    """Those that have been asked for, now."""
    for item in _ALL:
        item.fetch()
