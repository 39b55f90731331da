"""Write lines of /proc/sys/net: those of the network namespace that the thread is in."""

from __future__ import annotations

from pyrunc.errors import doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrunc.network.plan import Sysctl


def apply(sysctls: Iterable[Sysctl]) -> None:
    """Raises PyruncError. One that says so already is not written: /proc/sys may be read-only."""
    for item in sysctls:
        path = f"/proc/sys/{item.key}"
        with doing("set sysctl", path):
            try:
                with open(path) as file:
                    if file.read().strip() == item.value:
                        continue
            except FileNotFoundError:
                if item.is_optional:
                    continue
                raise
            with open(path, "w") as file:
                file.write(item.value)
