"""What checkpoint and restore have in common: the directory with criu's images, and names in the rootfs."""

from __future__ import annotations

import posix

from pyrunc import jsonio
from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.files import read_whole, write_atomically
from pyrunc.kernel import paths
from pyrunc.kernel.const import O_PATH
from pyrunc.linux.criu.session import explain_by_log
from pyrunc.linux.criu.session import require_criu as require_criu
from pyrunc.oci.config import Config
from pyrunc.plan.criu import CriuFlags as CriuFlags
from pyrunc.plan.criu import HostMount

_DESCRIPTORS = "descriptors.json"
_DEFAULT_CONFIG = "/etc/criu/runc.conf"
_CONFIG_ANNOTATION = "org.criu.config"
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC


class Images:
    """The images' directory, and the one where criu works and logs: the same unless asked for. Both open, for
    criu takes them out of our descriptors."""

    def __init__(self, path: str, work_path: str, *, is_new: bool) -> None:
        self.path, self.work_path = path, work_path or path
        if is_new:
            with doing("make directory for images", path):
                _make_directories(path, 0o700)
        if self.work_path != path:
            with doing("make work directory", self.work_path):
                _make_directories(self.work_path, 0o700)
        with doing("open directory with images", path):
            self.fd = posix.open(path, _DIRECTORY)
        with doing("open work directory", self.work_path):
            self.work_fd = posix.open(self.work_path, _DIRECTORY)

    def options(self) -> dict[str, int]:
        return {"images_dir_fd": self.fd, "work_dir_fd": self.work_fd}

    def explained(self, error: PyruncError, log: str) -> PyruncError:
        return explain_by_log(error, f"{self.work_path}/{log}")

    def write_descriptors(self, targets: tuple[str, ...]) -> None:
        with doing("write the names of descriptors", f"{self.path}/{_DESCRIPTORS}"):
            text = jsonio.dumps(list(targets)).encode("utf-8", "surrogateescape")
            write_atomically(f"{self.path}/{_DESCRIPTORS}", text, 0o600)

    def read_descriptors(self) -> tuple[str, ...]:
        path = f"{self.path}/{_DESCRIPTORS}"
        with doing("read the names of descriptors", path):
            found = jsonio.loads(read_whole(path), path)
        if type(found) is not list or any(type(item) is not str for item in found):
            raise PyruncError(INVALID, "invalid names of descriptors", path, "an array of strings is wanted")
        return tuple(found)

    def close(self) -> None:
        posix.close(self.fd)
        posix.close(self.work_fd)


def _make_directories(path: str, mode: int) -> None:
    try:
        posix.mkdir(path, mode)
    except FileExistsError:
        pass
    except FileNotFoundError:
        _make_directories(path.rpartition("/")[0], 0o755)
        posix.mkdir(path, mode)


def config_file(config: Config) -> str:
    """criu's own configuration, which overrides ours: an annotation's, where an empty one means none."""
    named = dict(config.annotations).get(_CONFIG_ANNOTATION)
    if named is not None:
        return named
    return _DEFAULT_CONFIG if posix.access(_DEFAULT_CONFIG, posix.R_OK) else ""


def resolve(rootfs: str, name: str) -> str:
    """As mounting did, by the links that the rootfs has; a name that isn't there stays as it is."""
    root = posix.open(rootfs, O_PATH | _DIRECTORY)
    try:
        found = paths.open_inside(root, name)
    except OSError:
        return paths.clean(name)
    finally:
        base = posix.readlink(paths.fd_path(root))
        posix.close(root)
    try:
        path = posix.readlink(paths.fd_path(found))
    finally:
        posix.close(found)
    return "/" + path.removeprefix(base).strip("/")


def resolved(rootfs: str, mounts: tuple[HostMount, ...]) -> tuple[HostMount, ...]:
    return tuple(HostMount(source=item.source, target=resolve(rootfs, item.target)) for item in mounts)
