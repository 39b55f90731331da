"""python -m bench.engine [-n ROUNDS] [--pyruncd WORDS] [--pyr WORDS] [--docker PROGRAM]
                       [--peer podman=RUNTIME] [--peer dockerd=PROGRAM] [--network none --network bridge]

`run --rm busybox true`, interleaved: by our own command line and by Docker's client, with our daemon; by
podman; by Docker's client with its own daemon. CPU is that of clients, daemons and what they start, not that
of the container. Everything is in a network and a /run of its own, with its state below a temporary
directory. Then the memory of our daemon, alone and with containers. Needs root.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.figures import compare

_CHECKOUT = Path(__file__).resolve().parents[1]
_INSIDE = "PYRUNC_BENCH_INSIDE"
_IMAGE = "busybox"
_PATIENCE_SECONDS = 60
_SEVERAL = 10


def _from_checkout(module: str) -> str:
    program = f"import sys; sys.path.insert(0, {str(_CHECKOUT)!r}); from {module} import entry; entry()"
    return shlex.join([sys.executable, "-IBc", program])


def enter_machine() -> None:
    """Begin anew with a network that has a loopback alone, and an empty /run."""
    if os.environ.get(_INSIDE):
        return
    script = 'mount -t tmpfs tmpfs /run; ip link set lo up; exec "$@"'
    words = ["unshare", "--net", "--mount", "--propagation", "slave", "sh", "-ec", script, "sh"]
    command = [*words, sys.executable, "-m", "bench.engine", *sys.argv[1:]]
    os.execvpe("unshare", command, {**os.environ, _INSIDE: "1"})


def image_tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "dev", "proc", "sys"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(os.path.realpath(shutil.which("busybox") or "/bin/busybox"), "bin/busybox")
        entry = tarfile.TarInfo("bin/true")
        entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(entry)
    return made.getvalue()


class Engine:
    """`words`: its command line, up to the command. All that it starts is in a cgroup, whose CPU is known."""

    def __init__(self, name: str, words: list[str], environment: dict[str, str], cgroup: str = "") -> None:
        self.name, self.words = name, words
        self.environment = {**os.environ, **environment}
        unified = Path("/sys/fs/cgroup/unified")
        root = unified if unified.is_dir() else unified.parent
        self.cgroup = root / f"pyrunc-test-bench-{os.getpid()}-{cgroup or name.replace(' ', '-')}"
        self.cgroup.mkdir(exist_ok=True)

    def start(self, words: list[str], **options: object) -> subprocess.Popen[bytes]:
        """In the cgroup."""

        def move() -> None:
            (self.cgroup / "cgroup.procs").write_text("0")

        return subprocess.Popen(words, env=self.environment, preexec_fn=move, **options)  # type: ignore[call-overload, no-any-return]

    def call(self, *words: str, given: bytes = b"") -> None:
        process = self.start(
            [*self.words, *words],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        error = process.communicate(given, timeout=_PATIENCE_SECONDS)[1]
        if process.returncode:
            sys.exit(f"bench: {self.name} {' '.join(words)}: {error.decode().strip()}")

    def cpu_ms(self) -> float:
        values = dict(line.split() for line in (self.cgroup / "cpu.stat").read_text().splitlines())
        return int(values["usage_usec"]) / 1000

    def close(self) -> None:
        """What it left running, such as podman's pause process, goes."""
        for _ in range(100):
            pids = (self.cgroup / "cgroup.procs").read_text().split()
            if not pids:
                break
            for pid in pids:
                os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.05)
        self.cgroup.rmdir()


def daemon(engine: Engine, words: list[str], log: Path, held: ExitStack) -> int:
    """Its process, once it answers."""
    with log.open("wb") as file:
        process = engine.start(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def end() -> None:
        process.terminate()
        process.wait(_PATIENCE_SECONDS)

    held.callback(end)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    command = [*engine.words, "version"]
    while subprocess.run(command, env=engine.environment, capture_output=True, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"bench: {words[0]} does not answer: {log.read_text()[-1000:]}")
        time.sleep(0.1)
    return process.pid


def our_daemon(options: argparse.Namespace, work: Path, held: ExitStack) -> tuple[Engine, int]:
    ours = Engine("pyruncd", [options.docker], {"DOCKER_HOST": f"unix://{work}/ours.sock"})
    held.callback(ours.close)
    state = ["--data-root", f"{work}/ours", "--exec-root", f"{work}/ours-run"]
    words = [*shlex.split(options.pyruncd), *state, "--host", f"unix://{work}/ours.sock"]
    pid = daemon(ours, [*words, "--network-table", "pyrunc_bench"], work / "ours.log", held)
    return ours, pid


def dockerd(program: str, options: argparse.Namespace, work: Path, held: ExitStack) -> Engine:
    path = f"{Path(program).parent}:{Path(options.docker).parent}:{os.environ['PATH']}"
    made = Engine("dockerd", [options.docker], {"DOCKER_HOST": f"unix://{work}/docker.sock", "PATH": path})
    held.callback(made.close)
    words = [program, "--data-root", f"{work}/docker", "--exec-root", f"{work}/docker-run"]
    words += ["--pidfile", f"{work}/docker.pid", "--host", f"unix://{work}/docker.sock"]
    daemon(made, words, work / "dockerd.log", held)
    return made


def podman(runtime: str, work: Path, held: ExitStack) -> Engine:
    roots = ["--root", f"{work}/podman", "--runroot", f"{work}/podman-run", "--storage-driver", "overlay"]
    (work / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        '[engine]\nevents_logger = "none"\n'
    )
    words = ["podman", "--cgroup-manager", "cgroupfs", "--runtime", runtime, *roots]
    made = Engine("podman", words, {"CONTAINERS_CONF": f"{work}/containers.conf"})
    held.callback(made.close)
    return made


def unmount_below(work: Path) -> None:
    """Such as podman's storage, which it mounts upon itself."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        target = line.split()[4]
        if target.startswith(f"{work}/"):
            subprocess.run(["umount", "--lazy", target], check=True)


def pss_mib(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        total += int(Path(f"/proc/{pid}/smaps_rollup").read_text().partition("\nPss:")[2].split()[0])
    return total / 1024


def memory(ours: Engine, pid: int, work: Path) -> str:
    def all_of_it() -> list[int]:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        shims = [path.read_text() for path in (work / "ours" / "containers").glob("*/shim.pid")]
        return [pid, *map(int, children), *map(int, shims)]

    rest = pss_mib(all_of_it())
    for number in range(_SEVERAL + 1):
        ours.call("run", "-d", "--name", f"m{number}", _IMAGE, "/bin/busybox", "sleep", "1000")
        if not number:
            one = pss_mib(all_of_it())
    each = (pss_mib(all_of_it()) - one) / _SEVERAL
    ours.call("rm", "-f", *(f"m{number}" for number in range(_SEVERAL + 1)))
    return f"pyruncd: {rest:.1f} MiB PSS with nothing running, {each:.2f} for each further container"


def measure(engines: list[Engine], networks: list[str], rounds: int) -> tuple[str, str]:
    """Tables of wall time and of CPU, ms."""
    wall: dict[str, dict[str, list[float]]] = {}
    used: dict[str, dict[str, list[float]]] = {}
    for network in networks:
        wall[network] = {engine.name: [] for engine in engines}
        used[network] = {engine.name: [] for engine in engines}
        for number in range(rounds + 1):
            for engine in engines:
                before, begun = engine.cpu_ms(), time.perf_counter()
                engine.call("run", "--rm", "--network", network, _IMAGE, "/bin/true")
                elapsed = (time.perf_counter() - begun) * 1000
                time.sleep(0.1)  # what is cleaned up afterwards counts as CPU
                if number:  # the first is to warm up
                    wall[network][engine.name].append(elapsed)
                    used[network][engine.name].append(engine.cpu_ms() - before)
    heading = "run --rm, ms: median (min)"
    return compare(heading, wall), compare("CPU", used)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", "--rounds", type=int, default=10)
    parser.add_argument("--pyruncd", default=_from_checkout("pyrunc.api.daemon"))
    parser.add_argument("--pyr", default=_from_checkout("pyrunc.docker.main"))
    parser.add_argument("--docker", default=shutil.which("docker") or "docker")
    parser.add_argument("--peer", action="append", default=[], help="podman=RUNTIME, dockerd=PROGRAM")
    parser.add_argument("--network", action="append", default=[])
    return parser.parse_args()


def main() -> None:
    options = parse()
    enter_machine()
    work = Path(tempfile.mkdtemp(prefix="pyrunc-bench-", dir="/var/tmp"))
    with ExitStack() as held:
        held.callback(shutil.rmtree, work)
        held.callback(unmount_below, work)
        ours, pid = our_daemon(options, work, held)
        pyr = Engine("pyr", shlex.split(options.pyr), ours.environment, "pyruncd")
        engines = [pyr, ours]
        for peer in options.peer:
            kind, _, program = peer.partition("=")
            if kind == "podman":
                engines.append(podman(program or "runc", work, held))
            else:
                engines.append(dockerd(program or "dockerd", options, work, held))
        for engine in engines[1:]:
            engine.call("import", "-", _IMAGE, given=image_tar())
        for one in measure(engines, options.network or ["none", "bridge"], options.rounds):
            print(one, end="\n\n")
        print(memory(ours, pid, work))


if __name__ == "__main__":
    main()
