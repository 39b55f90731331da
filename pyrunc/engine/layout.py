"""Where things are, below the data root (kept) and the run root (gone after a reboot)."""

from __future__ import annotations

from pyrunc.record import Record


class Layout(Record):
    data_root: str = "/var/lib/pyrunc"
    run_root: str = "/run/pyrunc-engine"

    @property
    def database(self) -> str:
        return f"{self.data_root}/engine.db"

    @property
    def images(self) -> str:
        return f"{self.data_root}/images"

    @property
    def containers(self) -> str:
        return f"{self.data_root}/containers"

    @property
    def volumes(self) -> str:
        return f"{self.data_root}/volumes"

    @property
    def runtime_state(self) -> str:
        """The runtime's state root for our containers."""
        return f"{self.run_root}/runtime"

    @property
    def namespaces(self) -> str:
        return f"{self.run_root}/netns"

    def container(self, id: str) -> str:
        """The shim's directory, and the bundle."""
        return f"{self.containers}/{id}"

    def rootfs(self, id: str) -> str:
        return f"{self.containers}/{id}/rootfs"

    def log(self, id: str) -> str:
        return f"{self.containers}/{id}/{id}-json.log"

    def namespace(self, id: str) -> str:
        """The file that pins the container's network namespace."""
        return f"{self.namespaces}/{id}"

    def volume(self, name: str) -> str:
        return f"{self.volumes}/{name}/_data"
