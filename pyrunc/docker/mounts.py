"""`--mount` and `-v`: words to the API's Mounts, Binds and Volumes. Pure but for where a relative path is."""

from __future__ import annotations

from pyrunc.docker.units import parse_bytes
from pyrunc.errors import INVALID, PyruncError
from pyrunc.files import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SWITCHES = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-mountpoint")
_NAMES = {"source": "Source", "src": "Source", "target": "Target", "dst": "Target", "destination": "Target",
          "type": "Type", "consistency": "Consistency"}  # fmt: skip
_TYPES = ("bind", "volume", "tmpfs", "npipe", "cluster", "image")
_RECURSIVE = {"enabled": {}, "disabled": {"NonRecursive": True}, "writable": {"ReadOnlyNonRecursive": True},
              "readonly": {"ReadOnlyForceRecursive": True}}  # fmt: skip


def split_fields(text: str) -> list[str]:
    """A line of comma-separated values; a field in double quotes may have commas, and quotes that are
    doubled."""
    fields, field, quoted, position = [], "", False, 0
    while position < len(text):
        letter = text[position]
        position += 1
        if letter == '"' and quoted and text[position : position + 1] == '"':
            field += '"'
            position += 1
        elif letter == '"' and (quoted or not field):
            quoted = not quoted
        elif letter == "," and not quoted:
            fields.append(field)
            field = ""
        else:
            field += letter
    if quoted:
        raise PyruncError(INVALID, 'extraneous or missing " in quoted-field', text)
    return [*fields, field]


def parse_mount(text: str) -> dict[str, Any]:
    """`type=volume,source=data,target=/data,readonly`. Raises PyruncError INVALID."""
    mount: dict[str, Any] = {"Type": "volume"}
    for field in split_fields(text):
        name, equals, value = field.partition("=")
        name = name.strip().lower()
        if not equals and name not in _SWITCHES:
            raise PyruncError(INVALID, f"invalid field '{field}' must be a key=value pair")
        _set(mount, name, value if equals else "true", field)
    if mount["Type"] not in _TYPES:
        raise PyruncError(
            INVALID, f"invalid mount type '{mount['Type']}'", hint="bind, volume, tmpfs or image"
        )
    if not mount.get("Target"):
        raise PyruncError(INVALID, "target is required", text)
    for options, kind in (("BindOptions", "bind"), ("VolumeOptions", "volume"), ("TmpfsOptions", "tmpfs")):
        if mount.get(options) and mount["Type"] != kind:
            raise PyruncError(
                INVALID, f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'", text
            )
    if mount["Type"] == "bind" and mount.get("Source", "").startswith("."):
        mount["Source"] = absolute(mount["Source"])
    return mount


def _set(mount: dict[str, Any], name: str, value: str, field: str) -> None:
    if name in _NAMES:
        mount[_NAMES[name]] = value.lower() if name == "type" else value
    elif name in ("readonly", "ro"):
        mount["ReadOnly"] = _switch(name, value)
    elif name.startswith("bind-"):
        _set_bind(mount.setdefault("BindOptions", {}), name, value)
    elif name.startswith("volume-"):
        _set_volume(mount.setdefault("VolumeOptions", {}), name, value)
    elif name == "tmpfs-size":
        mount.setdefault("TmpfsOptions", {})["SizeBytes"] = parse_bytes(value)
    elif name == "tmpfs-mode":
        if not value or set(value) - set("01234567"):
            raise PyruncError(INVALID, f"invalid value for {name}: {value}")
        mount.setdefault("TmpfsOptions", {})["Mode"] = int(value, 8)
    elif name == "image-subpath":
        mount.setdefault("ImageOptions", {})["Subpath"] = value
    else:
        raise PyruncError(INVALID, f"unexpected key '{name}' in '{field}'")


def _set_bind(options: dict[str, Any], name: str, value: str) -> None:
    if name == "bind-propagation":
        options["Propagation"] = value.lower()
    elif name == "bind-recursive" and value in _RECURSIVE:
        options.update(_RECURSIVE[value])
    elif name == "bind-nonrecursive":
        options["NonRecursive"] = _switch(name, value)
    elif name == "bind-create-mountpoint":
        options["CreateMountpoint"] = _switch(name, value)
    else:
        raise PyruncError(INVALID, f"invalid value for {name}: {value}")


def _set_volume(options: dict[str, Any], name: str, value: str) -> None:
    key, _, setting = value.partition("=")
    if name == "volume-nocopy":
        options["NoCopy"] = _switch(name, value)
    elif name == "volume-subpath":
        options["Subpath"] = value
    elif name == "volume-label":
        options.setdefault("Labels", {})[key] = setting
    elif name == "volume-driver":
        options.setdefault("DriverConfig", {})["Name"] = value
    elif name == "volume-opt":
        options.setdefault("DriverConfig", {}).setdefault("Options", {})[key] = setting
    else:
        raise PyruncError(INVALID, f"unexpected key '{name}'")


def _switch(name: str, value: str) -> bool:
    if value.lower() in ("true", "1"):
        return True
    if value.lower() in ("false", "0"):
        return False
    raise PyruncError(INVALID, f"invalid value for {name}: {value}")


def split_volumes(words: tuple[str, ...]) -> tuple[list[str], dict[str, Any]]:
    """(Binds, Volumes): a path alone is an anonymous volume; a source that begins with a dot is here."""
    binds: list[str] = []
    volumes: dict[str, Any] = {}
    for word in words:
        source, colon, rest = word.partition(":")
        if not colon:
            if not word.startswith("/"):
                raise PyruncError(
                    INVALID, f"invalid volume specification: '{word}'", "", "mount path must be absolute"
                )
            volumes[word] = {}
        elif source.startswith("."):
            binds.append(f"{absolute(source)}:{rest}")
        else:
            binds.append(word)
    return binds, volumes
