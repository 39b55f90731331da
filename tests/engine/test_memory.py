"""What the engine takes: PSS, as the kernel counts it (proc(5), smaps_rollup), of the daemon and all that
stays because of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from support.engine import IMAGE, Engine

LEAST, MORE = 2, 10
MIB_AT_REST, MIB_EACH = 60, 4


def pss_kib(pid: int) -> int:
    """0 of one that has just ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def ours(engine: Engine) -> set[int]:
    """The daemon, its spawner, and the shims; not what runs in containers."""
    assert engine.process is not None
    found = {engine.process.pid}
    found |= {pid for pid, parent in parents().items() if parent == engine.process.pid}
    return found | {int(path.read_text()) for path in (engine.root / "data/containers").glob("*/shim.pid")}


def total_kib(engine: Engine) -> int:
    return sum(map(pss_kib, ours(engine)))


def test_each_further_container_takes_little(docker):
    for number in range(LEAST):
        docker.ok("run", "-d", "--name", f"first{number}", "-p", "80", IMAGE, "sleep", "1000")
    few = total_kib(docker)
    for number in range(MORE):
        docker.ok("run", "-d", "--name", f"more{number}", "-p", "80", IMAGE, "sleep", "1000")
    each = (total_kib(docker) - few) / MORE / 1024
    print(f"{each:.2f} MiB for each container")
    assert each <= MIB_EACH, f"{each:.2f} MiB"


def test_at_rest_after_a_start_with_containers(docker):
    docker.ok("run", "-d", "--name", "one", "-p", "80", IMAGE, "sleep", "1000")
    docker.end()
    docker.start()
    docker.ok("ps")
    docker.ok("rm", "-f", "one")
    rest = total_kib(docker) / 1024
    print(f"{rest:.2f} MiB at rest")
    assert rest <= MIB_AT_REST, f"{rest:.2f} MiB"
