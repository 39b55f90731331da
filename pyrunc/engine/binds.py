"""What `-v`, `--mount` and VOLUME ask for -> mount points. Pure: volumes are named here, and made by
`volumes`."""

from __future__ import annotations

import re

from pyrunc.engine.model import BIND, TMPFS, VOLUME, MountPoint
from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.record import Record, replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_IGNORED_MODES = ("z", "Z", "cached", "delegated", "consistent")  # SELinux labels; Docker Desktop


class Wish(Record):
    """A mount point, and what its volume is to be like if it has to be made."""

    point: MountPoint
    labels: dict[str, str] = {}  # noqa: RUF012  (a Record's default: never changed)
    options: dict[str, str] = {}  # noqa: RUF012
    must_exist: bool = False


def require_volume_name(name: str) -> None:
    """Raises PyruncError INVALID."""
    if not _NAME.fullmatch(name):
        raise PyruncError(
            INVALID,
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path",
        )


def parse_mounts(
    config: dict[str, Any], host: dict[str, Any], new_name: Callable[[], str]
) -> tuple[Wish, ...]:
    """`new_name` names anonymous volumes. Raises PyruncError INVALID (also for two at one
    place) or UNSUPPORTED."""
    wishes = [_parse_bind(text, new_name) for text in host["Binds"] or ()]
    wishes += [_parse_mount(mount, new_name) for mount in host["Mounts"] or ()]
    taken: set[str] = set()
    for wish in wishes:
        target = wish.point.destination
        if target in taken or target in (host["Tmpfs"] or {}):
            raise PyruncError(INVALID, f"Duplicate mount point: {target}")
        taken.add(target)
    for path in host["Tmpfs"] or ():
        taken.add(_clean_target(path))
    return (*wishes, *_anonymous(config.get("Volumes") or {}, taken, new_name))


def _anonymous(paths: Iterable[str], taken: set[str], new_name: Callable[[], str]) -> list[Wish]:
    points = []
    for path in paths:
        target = _clean_target(path)
        if target not in taken:
            taken.add(target)
            points.append(_volume(new_name(), target, is_anonymous=True))
    return [Wish(point=point) for point in points]


def _volume(name: str, target: str, *, is_anonymous: bool = False) -> MountPoint:
    return MountPoint(
        type=VOLUME,
        destination=target,
        name=name,
        driver="local",
        mode="" if is_anonymous else "z",
        copies_up=True,
        is_anonymous=is_anonymous,
    )


def _clean_target(path: str) -> str:
    if not path.startswith("/"):
        raise PyruncError(INVALID, f"invalid mount path: '{path}' mount path must be absolute")
    cleaned = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    if cleaned == "/":
        raise PyruncError(INVALID, "invalid volume specification: destination can't be '/'", path)
    if ".." in cleaned.split("/"):
        raise PyruncError(INVALID, "invalid mount path", path, "has ..")
    return cleaned


def _parse_bind(text: str, new_name: Callable[[], str]) -> Wish:
    """SOURCE:TARGET[:MODE], where SOURCE is a path or a volume's name."""
    parts = text.split(":")
    if len(parts) == 1:
        return Wish(point=_volume(new_name(), _clean_target(parts[0]), is_anonymous=True))
    if len(parts) > 3 or not parts[0] or not parts[1]:
        raise PyruncError(INVALID, f"invalid volume specification: '{text}'")
    source, target, mode = parts[0], _clean_target(parts[1]), parts[2] if len(parts) == 3 else ""
    if source.startswith("/"):
        point = MountPoint(type=BIND, destination=target, source=_normal(source))
    else:
        require_volume_name(source)
        point = _volume(source, target)
    return Wish(point=_with_mode(point, mode, text))


def _normal(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _with_mode(point: MountPoint, mode: str, text: str) -> MountPoint:
    changes: dict[str, Any] = {"mode": mode or point.mode}
    for word in mode.split(",") if mode else ():
        if word in ("rw", "ro"):
            changes["writable"] = word == "rw"
        elif word in _PROPAGATIONS and point.type == BIND:
            changes["propagation"] = word
        elif word == "nocopy" and point.type == VOLUME:
            changes["copies_up"] = False
        elif word not in _IGNORED_MODES:
            raise PyruncError(INVALID, f"invalid volume specification: '{text}': invalid mode: {word}")
    return replaced(point, **changes)


def _parse_mount(given: dict[str, Any], new_name: Callable[[], str]) -> Wish:
    kind = given.get("Type") or ""
    target = _clean_target(given.get("Target") or "")
    writable = not given.get("ReadOnly")
    parse = {BIND: _parse_bind_mount, VOLUME: _parse_volume_mount, TMPFS: _parse_tmpfs_mount}.get(kind)
    if parse is None:
        if kind == "image":
            raise PyruncError(UNSUPPORTED, "mounts of images are not supported", target)
        raise PyruncError(INVALID, f'invalid mount config for type "{kind}": mount type unknown')
    wish = parse(given, target, new_name)
    return replaced(wish, point=replaced(wish.point, writable=writable))


def _parse_bind_mount(given: dict[str, Any], target: str, _: Callable[[], str]) -> Wish:
    source = given.get("Source") or ""
    if not source.startswith("/"):
        raise PyruncError(
            INVALID, 'invalid mount config for type "bind": invalid mount path: must be absolute'
        )
    options = given.get("BindOptions") or {}
    propagation = options.get("Propagation") or ""
    if propagation not in ("", *_PROPAGATIONS):
        raise PyruncError(
            INVALID, f'invalid mount config for type "bind": invalid propagation: {propagation}'
        )
    is_single = options.get("NonRecursive") or (given.get("ReadOnly") and options.get("ReadOnlyNonRecursive"))
    point = MountPoint(
        type=BIND,
        destination=target,
        source=_normal(source),
        propagation=propagation,
        options=("bind",) if is_single else (),
    )
    return Wish(point=point, must_exist=not options.get("CreateMountpoint"))


def _parse_volume_mount(given: dict[str, Any], target: str, new_name: Callable[[], str]) -> Wish:
    options = given.get("VolumeOptions") or {}
    driver = options.get("DriverConfig") or {}
    if driver.get("Name") not in (None, "", "local"):
        raise PyruncError(UNSUPPORTED, f"volume driver {driver['Name']} is not supported", target)
    name = given.get("Source") or ""
    if name:
        require_volume_name(name)
    point = _volume(name or new_name(), target, is_anonymous=not name)
    subpath = _require_subpath(options.get("Subpath") or "")
    copies_up = not options.get("NoCopy") and not subpath
    return Wish(
        point=replaced(point, copies_up=copies_up, subpath=subpath),
        labels=options.get("Labels") or {},
        options=driver.get("Options") or {},
    )


def _require_subpath(text: str) -> str:
    if text.startswith("/") or ".." in text.split("/"):
        raise PyruncError(
            INVALID,
            'invalid mount config for type "volume": subpath must be a relative path within the volume',
            text,
        )
    return text


def _parse_tmpfs_mount(given: dict[str, Any], target: str, _: Callable[[], str]) -> Wish:
    if given.get("Source"):
        raise PyruncError(
            INVALID, 'invalid mount config for type "tmpfs": field Source must not be specified'
        )
    options = given.get("TmpfsOptions") or {}
    words = [
        word if len(pair) == 1 else "=".join(pair)
        for pair in options.get("Options") or ()
        for word in pair[:1]
    ]
    if options.get("SizeBytes"):
        words.append(f"size={options['SizeBytes']}")
    if options.get("Mode"):
        words.append(f"mode={options['Mode']:o}")
    return Wish(point=MountPoint(type=TMPFS, destination=target, options=tuple(words)))


def from_another(points: Iterable[MountPoint], mode: str, taken: Iterable[str]) -> list[Wish]:
    """What `--volumes-from CONTAINER[:ro]` brings: all but what has its place taken already."""
    if mode not in ("", "rw", "ro"):
        raise PyruncError(INVALID, "invalid mode for volumes-from", mode)
    return [
        Wish(
            point=replaced(
                point, writable=point.writable and mode != "ro", copies_up=False, is_anonymous=False
            )
        )
        for point in points
        if point.type in (BIND, VOLUME) and point.destination not in taken
    ]
