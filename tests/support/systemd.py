"""What systemd says of a container's scope."""

from __future__ import annotations

import subprocess
from typing import Any

from support.bundle import Bundle

SYSTEMD: dict[str, Any] = {"before": ("--systemd-cgroup",)}


def unit_of(bundle: Bundle) -> str:
    """Of a bundle whose cgroupsPath is `slice::id`."""
    return f"{bundle.id}.scope"


def show(unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit, by name."""
    options = [f"--property={name}" for name in names]
    done = subprocess.run(["systemctl", "show", *options, unit], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def is_known(unit: str) -> bool:
    return show(unit, "LoadState")["LoadState"] != "not-found"
