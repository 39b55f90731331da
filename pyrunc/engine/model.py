"""What the engine keeps of a container, a volume, a network: values, and their form in the database.

`config` and `host` of a container are Docker's Config and HostConfig as JSON, completed by `hostconfig`: what
a client sent comes back from `inspect`, also where we have no use for it.
"""

from __future__ import annotations

from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _R = TypeVar("_R", bound=Record)

BIND, VOLUME, TMPFS, IMAGE = "bind", "volume", "tmpfs", "image"


class MountPoint(Record):
    """`source`: a path of the host (nothing for tmpfs); `name`: of a volume, `subpath`: what of it;
    `options`: of the mount itself, as config.json has them."""

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    writable: bool = True
    propagation: str = ""
    options: tuple[str, ...] = ()
    copies_up: bool = False
    is_anonymous: bool = False
    subpath: str = ""


class Container(Record):
    """`created_ns`: since 1970. `image`: as typed; `networks`: endpoint settings as wished, by network name.
    `error`, `error_code`: of the last start, if that failed. `was_stopped`: by somebody, so that
    `unless-stopped` holds; `is_removing`: it cannot come back; `removes_volumes`: and takes its anonymous
    volumes along."""

    id: str
    name: str
    created_ns: int
    image: str
    image_id: str
    config: dict[str, Any]
    host: dict[str, Any]
    networks: dict[str, Any] = {}  # noqa: RUF012  (a Record's default: never changed)
    mounts: tuple[MountPoint, ...] = ()
    path: str = ""
    args: tuple[str, ...] = ()
    error: str = ""
    error_code: int = 0
    was_stopped: bool = False
    is_removing: bool = False
    removes_volumes: bool = False

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = self.config.get("Labels") or {}
        return found

    @property
    def removes_itself(self) -> bool:
        return bool(self.host.get("AutoRemove"))

    @property
    def has_terminal(self) -> bool:
        return bool(self.config.get("Tty"))

    @property
    def short_id(self) -> str:
        return self.id[:12]


class Volume(Record):
    name: str
    created_ns: int
    driver: str = "local"
    labels: dict[str, str] = {}  # noqa: RUF012
    options: dict[str, str] = {}  # noqa: RUF012

    @property
    def is_anonymous(self) -> bool:
        return ANONYMOUS_LABEL in self.labels


ANONYMOUS_LABEL = "com.docker.volume.anonymous"


def to_document(record: Record) -> dict[str, Any]:
    """For JSON; Records within become objects."""
    return {name: _plain(value) for name, value in record.__dict__.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return to_document(value)
    if type(value) is tuple:
        return [_plain(one) for one in value]
    return value


def container_from(document: dict[str, Any]) -> Container:
    mounts = tuple(_mount_from(mount) for mount in document.pop("mounts", ()))
    return Container(mounts=mounts, args=tuple(document.pop("args", ())), **_known(Container, document))


def _mount_from(document: dict[str, Any]) -> MountPoint:
    return MountPoint(options=tuple(document.pop("options", ())), **_known(MountPoint, document))


def volume_from(document: dict[str, Any]) -> Volume:
    return Volume(**_known(Volume, document))


def _known(kind: type[Record], document: dict[str, Any]) -> dict[str, Any]:
    """A newer version of ours may have written more."""
    return {name: value for name, value in document.items() if name in kind.FIELDS}
