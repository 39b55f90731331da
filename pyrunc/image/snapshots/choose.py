"""Which driver: the one that was asked for, else the one that is in use, else overlay where it works."""

from __future__ import annotations

import os

from pyrunc.errors import CONFLICT, INVALID, PyruncError
from pyrunc.image.locks import locked
from pyrunc.image.snapshots.overlay import Overlay, is_supported
from pyrunc.image.snapshots.plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.image.snapshots.base import Snapshots

_DRIVERS: dict[str, type[Snapshots]] = {"overlay": Overlay, "plain": Plain}
_ALIASES = {"overlay2": "overlay", "overlayfs": "overlay", "vfs": "plain", "native": "plain"}


def open_snapshots(root: str, wanted: str, lock: str) -> Snapshots:
    """The snapshots below `root`. `lock`: see Snapshots. Raises INVALID for a driver that isn't there,
    CONFLICT where `root` is in use with another."""
    wanted = _ALIASES.get(wanted, wanted)
    if wanted and wanted not in _DRIVERS:
        raise PyruncError(
            INVALID, "no such storage driver", wanted, hint=f"there are {' and '.join(_DRIVERS)}"
        )
    used = _used(root)
    if not used:
        with locked(lock, exclusive=True):  # of several that come first, one chooses
            used = _used(root)
            if not used:
                name = wanted or ("overlay" if is_supported(root) else "plain")
                return _DRIVERS[name](f"{root}/{name}", lock)
    if wanted and used and wanted not in used:
        why = f"{used[0]} is in use there"
        raise PyruncError(CONFLICT, "storage driver can't be changed", root, why, "use another data root")
    return _DRIVERS[used[0]](f"{root}/{used[0]}", lock)


def _used(root: str) -> list[str]:
    return [name for name in _DRIVERS if os.path.isdir(f"{root}/{name}")]
