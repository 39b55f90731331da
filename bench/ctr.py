"""python -m bench.ctr --shim NAME=RUNTIME ...: containerd's shims side by side, in one run, interleaved.

    python -m bench.ctr --shim runc=io.containerd.runc.v2 \\
                        --shim pyrunc=/usr/local/bin/containerd-shim-pyrunc-v2 -n 30

What `ctr run --rm` of /bin/true takes, of time, and of CPU in containerd and all that it starts; and the
memory of the shims of some containers that run. containerd is one of its own, below a temporary directory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.bundles import Bundles
from bench.figures import table

CONFIG = """version = 2
root = "{path}/root"
state = "{path}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{path}/containerd.sock"
[ttrpc]
  address = "{path}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{path}/opt"
"""
PATIENCE_SECONDS = 30
NAMESPACE = "pyrunc-bench"


class Containerd:
    """In a cgroup of its own, by which its CPU time is known, and that of all that it starts."""

    def __init__(self, path: Path) -> None:
        self.path, self.rootfs = path, path / "rootfs"
        (path / "config.toml").write_text(CONFIG.format(path=path))
        unified = Path("/sys/fs/cgroup/unified")
        self.cgroup = (unified if unified.is_dir() else unified.parent) / f"{NAMESPACE}-{os.getpid()}"
        self.cgroup.mkdir()
        self.daemon = subprocess.Popen(
            ["sh", "-c", f'echo $$ >{self.cgroup}/cgroup.procs; exec containerd --config "$0"',
             path / "config.toml"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=path,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.ctr("version", check=False).returncode:
            if time.monotonic() > deadline:
                sys.exit("bench: containerd does not answer")
            time.sleep(0.1)

    def ctr(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["ctr", "--address", f"{self.path}/containerd.sock", "--namespace", NAMESPACE, *words]
        return subprocess.run(command, capture_output=True, text=True, check=check, timeout=PATIENCE_SECONDS)

    def run(self, runtime: str, name: str, *words: str) -> None:
        self.ctr(
            "run", "--runtime", runtime, "--rootfs", *words[:-1], str(self.rootfs), name, *words[-1].split()
        )

    def cpu_ms(self) -> float:
        values = dict(line.split() for line in (self.cgroup / "cpu.stat").read_text().splitlines())
        return int(values["usage_usec"]) / 1000

    def shims(self) -> dict[int, int]:
        """Process -> PSS in KiB, of those in the cgroup that hold a container."""
        found = {}
        for pid in (self.cgroup / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if any(b"containerd-shim-" in word for word in words[:3]):
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    found[int(pid)] = int(rollup.partition("\nPss:")[2].split()[0])
        return found

    def close(self) -> None:
        for task in self.ctr("task", "list", "--quiet").stdout.split():
            self.ctr("task", "delete", "--force", task, check=False)
        for name in self.ctr("container", "list", "--quiet").stdout.split():
            self.ctr("container", "delete", name)
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(PATIENCE_SECONDS)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (self.cgroup / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.cgroup.rmdir()


@contextlib.contextmanager
def containerd() -> Iterator[Containerd]:
    with tempfile.TemporaryDirectory(prefix="pyrunc-test-bench-") as directory:
        Bundles(Path(directory), "/bin/busybox")  # makes the root filesystem
        made = Containerd(Path(directory))
        try:
            yield made
        finally:
            made.close()


def measure_runs(daemon: Containerd, shims: dict[str, str], rounds: int) -> str:
    times: dict[str, list[float]] = {name: [] for name in shims}
    used: dict[str, list[float]] = {name: [] for name in shims}
    for number in range(rounds + 1):
        for name, runtime in shims.items():
            before, begun = daemon.cpu_ms(), time.perf_counter()
            daemon.run(runtime, f"{name}-{number}", "--rm", "/bin/true")
            elapsed = (time.perf_counter() - begun) * 1000
            deadline = time.monotonic() + PATIENCE_SECONDS
            while (
                daemon.shims() and time.monotonic() < deadline
            ):  # what is cleaned up afterwards counts as CPU
                time.sleep(0.01)
            if number:  # the first is to warm up
                times[name].append(elapsed)
                used[name].append(daemon.cpu_ms() - before)
    rows = [
        [name, *(f"{value:.1f}" for value in (min(times[name]), median(times[name]), min(used[name]),
                                              median(used[name])))]
        for name in shims
    ]  # fmt: skip
    return table(["ctr run --rm true", "min ms", "median ms", "CPU min ms", "CPU median ms"], rows)


def measure_memory(daemon: Containerd, shims: dict[str, str], most: int) -> str:
    rows = []
    for name, runtime in shims.items():
        for number in range(most):
            daemon.run(runtime, f"{name}-m{number}", "--detach", "/bin/sleep 1000")
            if number in (0, most - 1):
                values = list(daemon.shims().values())
                rows.append([name, str(number + 1), f"{sum(values) / len(values):.0f}"])
        for number in range(most):
            daemon.ctr("task", "delete", "--force", f"{name}-m{number}", check=False)
            daemon.ctr("container", "delete", f"{name}-m{number}")
    return table(["shim", "containers", "PSS of each, KiB"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ctr", description=__doc__)
    parser.add_argument("--shim", action="append", required=True, metavar="NAME=RUNTIME",
                        help="a runtime's name, or the absolute name of its shim")  # fmt: skip
    parser.add_argument("-n", "--rounds", type=int, default=20)
    parser.add_argument("--most", type=int, default=10, help="containers at a time, for the memory")
    options = parser.parse_args()
    shims = dict(text.split("=", 1) for text in options.shim)
    with containerd() as daemon:
        print(measure_runs(daemon, shims, options.rounds))
        print()
        print(measure_memory(daemon, shims, options.most))


if __name__ == "__main__":
    main()
