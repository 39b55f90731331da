"""python -m bench.pull [-n ROUNDS] [--peer podman] [--peer dockerd=/path/to/dockerd]

Pull and unpack of one image from a registry on loopback: about 560 MB in five layers with 24,000 files, the
same for everybody, made here. Rounds are interleaved. CPU is that of the puller and all that it starts, for
dockerd that of the daemon; the registry's is not counted. Needs root, docker-registry and skopeo.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_LAYERS, _FILES, _BYTES = 5, 24_000, 560 << 20
_OURS = """
import sys
sys.path.insert(0, {checkout!r})
from pyrunc.image.options import PullOptions
from pyrunc.image.pull import pull
from pyrunc.image.store import open_store
from pyrunc.oci.reference import parse_reference
pull(open_store({root!r}), parse_reference({name!r}), PullOptions(config_file="/nonexistent"))
"""


def make_layout(directory: Path) -> None:
    """Text of words from a vocabulary, so that it compresses as programs and documents do; sizes as in a
    distribution: many small files, a few large ones. Always the same."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    order = random.Random(5)
    words = [bytes(order.choices(b"etaoinshrdlucmfwypvbgk", k=order.randint(2, 11))) for _ in range(20_000)]
    pool = b" ".join(order.choices(words, k=2_000_000))
    weights = [order.lognormvariate(0, 2) for _ in range(_FILES)]
    scale = _BYTES / sum(weights)
    layers, diffs = [], []

    def keep(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(data),
        }

    for number in range(_LAYERS):
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for index in range(number, _FILES, _LAYERS):
                size = int(weights[index] * scale)
                info = tarfile.TarInfo(f"usr/{number}/{index // 100}/file{index}")
                at = order.randrange(len(pool))
                info.size, info.mtime = size, 1_700_000_000 + index
                data = (pool[at : at + size] + pool * (size // len(pool) + 1))[:size]
                tar.addfile(info, io.BytesIO(data))
        data = target.getvalue()
        diffs.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
        layers.append(keep(gzip.compress(data, 6, mtime=0), "layer.v1.tar+gzip"))
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = {"architecture": machine, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}}
    manifest = {"schemaVersion": 2, "config": keep(json.dumps(config).encode(), "config.v1+json")}
    described = keep(json.dumps({**manifest, "layers": layers}).encode(), "manifest.v1+json")
    named = {**described, "annotations": {"org.opencontainers.image.ref.name": "bench"}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


@contextmanager
def registry(work: Path) -> Iterator[str]:
    """Its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = work / "registry.yml"
    storage = f"storage: {{filesystem: {{rootdirectory: {work}/registry}}}}"
    config.write_text(f'version: 0.1\nlog: {{level: error}}\n{storage}\nhttp: {{addr: "{address}"}}\n')
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=quiet, stderr=quiet)
    try:
        time.sleep(2)
        yield address
    finally:
        process.kill()
        process.wait()


def spent_by_children() -> float:
    found = os.times()
    return found.children_user + found.children_system


class Ours:
    name = "pyrunc"

    def __init__(self, work: Path) -> None:
        self._root = work / "ours"
        self.cpu: Callable[[], float] = spent_by_children

    def pull(self, name: str) -> None:
        checkout = str(Path(__file__).resolve().parents[1])
        program = _OURS.format(checkout=checkout, root=str(self._root), name=name)
        subprocess.run([sys.executable, "-c", program], check=True)

    def forget(self, name: str) -> None:
        shutil.rmtree(self._root)


class Podman:
    name = "podman"

    def __init__(self, work: Path) -> None:
        roots = ["--root", f"{work}/podman", "--runroot", f"{work}/podman-run", "--storage-driver", "overlay"]
        self._words = ["podman", *roots]
        self.cpu: Callable[[], float] = spent_by_children

    def pull(self, name: str) -> None:
        command = [*self._words, "pull", "--quiet", "--tls-verify=false", name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def forget(self, name: str) -> None:
        subprocess.run([*self._words, "rmi", "-af"], check=True, stdout=subprocess.DEVNULL)


class Dockerd:
    name = "dockerd"

    def __init__(self, work: Path, program: str, held: ExitStack) -> None:
        self._socket = work / "docker.sock"
        base = work / "docker"
        words = ["--data-root", f"{base}", "--exec-root", f"{base}-run", "-H", f"unix://{self._socket}"]
        words += ["--iptables=false", "--ip6tables=false", "--bridge=none", "-p", f"{base}.pid"]
        path = f"{Path(program).parent}:{os.environ['PATH']}"
        log = (work / "dockerd.log").open("wb")
        command = ["unshare", "-m", program, *words]
        self._process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PATH": path})
        held.callback(self._end)
        deadline = time.monotonic() + 30
        while not self._socket.exists():
            if time.monotonic() > deadline:
                raise SystemExit(f"dockerd does not come up: {work}/dockerd.log")
            time.sleep(0.1)
        time.sleep(1)

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait()

    def cpu(self) -> float:
        """Of the daemon, what it has started, and what of that has ended."""
        total, ticks = 0, os.sysconf("SC_CLK_TCK")
        wanted = {self._process.pid}
        for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(path.name) in wanted or int(fields[1]) in wanted:
                wanted.add(int(path.name))
                total += sum(int(field) for field in fields[11:15])
        return total / ticks

    def _ask(self, method: str, path: str) -> None:
        command = ["curl", "-sf", "-X", method, "--unix-socket", str(self._socket), f"http://d/v1.41{path}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        if '"error"' in done.stdout:
            raise SystemExit(done.stdout[-500:])

    def pull(self, name: str) -> None:
        self._ask("POST", f"/images/create?fromImage={name}")

    def forget(self, name: str) -> None:
        self._ask("DELETE", f"/images/{name}?force=1")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", "--rounds", type=int, default=3)
    parser.add_argument("--peer", action="append", default=[], help="podman, dockerd=PROGRAM")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="pyrunc-bench-", dir="/var/tmp"))
    with ExitStack() as held:
        held.callback(shutil.rmtree, work, ignore_errors=True)
        make_layout(work / "layout")
        address = held.enter_context(registry(work))
        name = f"{address}/bench:1"
        copy = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{work}/layout:bench"]
        subprocess.run([*copy, f"docker://{name}"], check=True, stdout=subprocess.DEVNULL)
        pullers: list[Ours | Podman | Dockerd] = [Ours(work)]
        for peer in options.peer:
            kind, _, program = peer.partition("=")
            pullers.append(Podman(work) if kind == "podman" else Dockerd(work, program or "dockerd", held))
        measure(pullers, name, options.rounds)


def measure(pullers: list[Ours | Podman | Dockerd], name: str, rounds: int) -> None:
    found: dict[str, list[tuple[float, float]]] = {puller.name: [] for puller in pullers}
    for _ in range(rounds):
        for puller in pullers:
            os.sync()
            before, start = puller.cpu(), time.monotonic()
            puller.pull(name)
            found[puller.name].append((time.monotonic() - start, puller.cpu() - before))
            puller.forget(name)
    for who, samples in found.items():
        wall, cpu = zip(*samples, strict=True)
        print(f"{who:8} wall {min(wall):6.2f} / {statistics.median(wall):6.2f} s, CPU {min(cpu):6.2f} s")


if __name__ == "__main__":
    main()
