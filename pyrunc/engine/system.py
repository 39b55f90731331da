"""What the engine tells of itself and its host."""

from __future__ import annotations

import os
import platform
import time

from pyrunc import __version__
from pyrunc.oci.state import format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.containers import Containers
    from pyrunc.engine.images import Images
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.settings import Settings

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class System:
    def __init__(self, layout: Layout, settings: Settings, containers: Containers, images: Images) -> None:
        self._layout, self.settings = layout, settings
        self._containers, self._images = containers, images
        self._started_ns = time.time_ns()

    def version(self) -> dict[str, Any]:
        """Without what is the API's to say."""
        host = os.uname()
        machine = _MACHINES.get(host.machine, host.machine)
        details = {
            "Arch": machine,
            "BuildTime": "",
            "Experimental": "false",
            "GitCommit": "",
            "GoVersion": "",
            "KernelVersion": host.release,
            "Os": "linux",
        }
        return {
            "Platform": {"Name": f"pyrunc {__version__}"},
            "Components": [
                {"Name": "Engine", "Version": __version__, "Details": details},
                {"Name": "pyrunc", "Version": __version__, "Details": {"GitCommit": ""}},
                {"Name": "Python", "Version": platform.python_version(), "Details": {}},
            ],
            "Version": __version__,
            "GitCommit": "",
            "GoVersion": "",
            "Os": "linux",
            "Arch": machine,
            "KernelVersion": host.release,
            "BuildTime": "",
        }

    def info(self) -> dict[str, Any]:
        states = [self._containers.last_state(container).status for container in self._containers.all()]
        host = os.uname()
        is_cgroup2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        return {
            "ID": self._identity(),
            "Containers": len(states),
            "ContainersRunning": sum(status in ("running", "restarting") for status in states),
            "ContainersPaused": states.count("paused"),
            "ContainersStopped": sum(status in ("created", "exited", "dead") for status in states),
            "Images": len(self._images.all()),
            "Driver": "overlay2" if type(self._images.store.snapshots).__name__ == "Overlay" else "vfs",
            "DriverStatus": [["Backing Filesystem", _filesystem(self._layout.data_root)]],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": None,
                "Log": ["json-file", "local", "none"],
            },
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": "2" if is_cgroup2 else "1",
            "Debug": False,
            "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": len(os.listdir("/proc/self/task")),
            "SystemTime": format_time(time.time_ns()),
            "LoggingDriver": self.settings.log_driver,
            "NEventsListener": 0,
            "KernelVersion": host.release,
            "OperatingSystem": _operating_system(),
            "OSVersion": "",
            "OSType": "linux",
            "Architecture": host.machine,
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": self._registry_config(),
            "NCPU": os.cpu_count() or 1,
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "DockerRootDir": self._layout.data_root,
            "HttpProxy": os.environ.get("HTTP_PROXY", ""),
            "HttpsProxy": os.environ.get("HTTPS_PROXY", ""),
            "NoProxy": os.environ.get("NO_PROXY", ""),
            "Name": host.nodename,
            "Labels": list(self.settings.labels),
            "ServerVersion": __version__,
            "Runtimes": {
                "pyrunc": {"path": "pyrunc"},
                **{name: {"path": path} for name, path in self.settings.runtimes.items()},
            },
            "DefaultRuntime": "pyrunc",
            "Warnings": self._warnings(),
            **_CONSTANT,
        }

    def _identity(self) -> str:
        """One for each data root, made when it is first asked for."""
        path = f"{self._layout.data_root}/engine-id"
        try:
            with open(path, encoding="ascii") as file:
                return file.read()
        except FileNotFoundError:
            made = os.urandom(16).hex()
        with open(path, "x", encoding="ascii") as file:
            file.write(made)
        return made

    def _registry_config(self) -> dict[str, Any]:
        index = {
            "Name": "docker.io",
            "Mirrors": list(self.settings.registry_mirrors),
            "Secure": True,
            "Official": True,
        }
        insecure = {
            name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
            for name in self.settings.insecure_registries
            if "/" not in name
        }
        networks = [name for name in self.settings.insecure_registries if "/" in name]
        return {
            "InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128", *networks],
            "IndexConfigs": {"docker.io": index, **insecure},
            "Mirrors": list(self.settings.registry_mirrors),
        }

    def _warnings(self) -> list[str]:
        megabytes = self.settings.log_size_bytes >> 20
        return [
            f"NOTE: logs are bounded by default: {self.settings.log_files} files of {megabytes} MB "
            "(--log-opt max-size, max-file)"
        ]


_CONSTANT = {
    "Swarm": {
        "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": "",
        "RemoteManagers": None,
    },
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
    "LiveRestoreEnabled": True, "Isolation": "", "InitBinary": "pyrunc", "ContainerdCommit": {"ID": ""},
    "RuncCommit": {"ID": ""}, "InitCommit": {"ID": ""}, "GenericResources": None, "ExperimentalBuild": False,
    "MemoryLimit": True, "SwapLimit": True, "CpuCfsPeriod": True, "CpuCfsQuota": True, "CPUShares": True,
    "CPUSet": True, "PidsLimit": True, "IPv4Forwarding": True, "OomKillDisable": True,
    "BridgeNfIptables": False, "BridgeNfIp6tables": False,
}  # fmt: skip


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _filesystem(path: str) -> str:
    """Of the mount that `path` is on."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if words[2] == wanted:
                return words[words.index("-") + 1]
    return "unknown"
