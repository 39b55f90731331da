"""What the README tells a user to type and to put into files, done exactly so.

It happens on a machine of the test's own: a network, /run and /var/lib that are empty, and an /etc and a
/usr/local where what is written vanishes. So every path stays as the README has it, and nothing is replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jsonschema
import pytest
import yaml
from support import cri, dockerd, image, leaks
from support.bundle import PREFIX, make_rootfs
from support.caller import Caller, become, ordinary_user, overlay, own_directory, own_machine
from support.runtime import CHECKOUT
from support.shim import find_shim
from support.waiting import until

from pyrunc.errors import PyruncError
from pyrunc.shim.containerd.options import from_words

README = (CHECKOUT / "README.md").read_text()
NAMESPACE = f"{PREFIX}ctr-{os.getpid()}"
IMAGE = "docker.io/library/alpine:latest"
# What this host needs beyond a user's: no limit above its own, no journald, a file system that it can have.
HOST_CONF = (
    '[containers]\nlog_driver = "k8s-file"\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
    '[engine]\nevents_logger = "file"\ncgroup_manager = "cgroupfs"\n'
)
STORAGE_CONF = (
    '[storage]\ndriver = "vfs"\ngraphroot = "/var/lib/containers/storage"\nrunroot = "/run/storage"\n'
)

# Of the API reference of node.k8s.io/v1; a handler is a DNS label, a name a subdomain (RFC 1123).
RUNTIME_CLASS = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "handler"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "node.k8s.io/v1"},
        "kind": {"const": "RuntimeClass"},
        "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string", "pattern": r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$"}},
        },
        "handler": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"},
        "overhead": {"type": "object"},
        "scheduling": {"type": "object"},
    },
}


def section(title: str) -> str:
    (found,) = re.findall(rf"^### {title}\n(.*?)(?=^##)", README, re.M | re.S)
    return found


class Block(NamedTuple):
    language: str
    text: str
    before: str  # what the section says until there


def blocks(title: str) -> list[Block]:
    """The fenced blocks of a section."""
    pieces = re.split(r"^```(.*)\n", section(title), flags=re.M)
    said, found = pieces[0], []
    for language, text, _, after in zip(*(pieces[n::4] for n in range(1, 5)), strict=True):
        found.append(Block(language, text, said))
        said += after
    return found


def commands(title: str) -> list[str]:
    """What a user types in each block of a section, as one script."""
    return [re.sub("^# ", "", block.text, flags=re.M) for block in blocks(title) if not block.language]


def files(title: str) -> dict[str, str]:
    """What a section wants in which file: the name of one that was last said before the block."""
    return {
        re.findall(r"`(/etc/[^`]+)`", block.before)[-1]: block.text
        for block in blocks(title)
        if block.language in ("toml", "json")
    }


def manifests() -> str:
    (found,) = (block.text for block in blocks("Kubernetes") if block.language == "yaml")
    return found


class Machine(Caller):
    """A shell on the machine, and a note of every call of the runtime that is made there."""

    def __init__(self, words: tuple[str, ...], path: Path) -> None:
        env = {
            "PATH": f"/usr/local/bin:{dockerd.SEARCH_PATH}", "HOME": str(path), "LANG": "C.UTF-8",
            "CONTAINERD_NAMESPACE": NAMESPACE,  # it becomes a cgroup's name
        }  # fmt: skip
        super().__init__([*words, "sh", "-euc"], env)
        self.path = path

    @property
    def root(self) -> Path:
        """The machine's files as they are seen from outside."""
        (pid,) = (word.partition("=")[2] for word in self.base if word.startswith("--target="))
        return Path(f"/proc/{pid}/root")

    def write(self, name: str, text: str) -> None:
        self.ok('mkdir -p "$(dirname "$0")"; cat >"$0"', name, input=text)

    def verbs(self) -> list[str]:
        """The verbs that the runtime was called with since last asked."""
        text = (self.path / "calls").read_text() if (self.path / "calls").exists() else ""
        (self.path / "calls").write_text("")
        known = "create|start|run|exec|kill|delete"
        return [verb for line in text.splitlines() for verb in re.findall(rf" ({known})(?= )", line)[:1]]

    @contextlib.contextmanager
    def running(self, daemon: str, ready: str) -> Iterator[None]:
        """A daemon of the machine, from when the command `ready` succeeds."""
        with (self.path / "daemon.log").open("wb") as log:
            process = subprocess.Popen(
                [*self.base, f"exec {daemon}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env
            )
        try:
            until(lambda: process.poll() is not None or self(ready).returncode == 0, f"{ready}", 60)
            assert process.poll() is None, (self.path / "daemon.log").read_text()[-2000:]
            yield
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
def machine(runtime_command: str) -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with own_directory() as path:
        (path / "above").mkdir()
        prepare = [f"mount -t tmpfs tmpfs {path}/above", "mount -t tmpfs tmpfs /var/lib"]
        prepare += [*overlay(path / "above", "/etc"), *overlay(path / "above", "/usr/local")]
        image.write_layout(
            make_rootfs(path / "rootfs"), path / "image.tar", IMAGE, {"Cmd": ["sh"], "Env": ["PATH=/bin"]}
        )
        image.tar_of(path / "rootfs", path / "rootfs.tar")
        with own_machine(*prepare) as words:
            made = Machine(words, path)
            script = f'#!/bin/sh\necho " $*" >>{path}/calls\nexec {runtime_command} "$@"\n'
            made.write("/usr/local/bin/pyrunc", script)
            made.ok("chmod 755 /usr/local/bin/pyrunc")
            yield made
    for cgroup in (*leaks.cgroups(dockerd.CGROUP), *leaks.cgroups(NAMESPACE)):
        cgroup.rmdir()


@pytest.fixture
def containers(machine: Machine) -> Machine:
    """What podman and buildah share, with the image."""
    made = machine
    made.write("/etc/containers/containers.conf", "")
    made.write("/etc/containers/containers.conf.d/host.conf", HOST_CONF)
    made.write("/etc/containers/storage.conf", STORAGE_CONF)
    return made


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program, path=dockerd.SEARCH_PATH) is None:
            pytest.skip(f"{program} is not installed")


def test_the_shim(machine):
    """The machine's /usr/local/bin/pyrunc is the runtime, as any other's in PATH."""
    bundle = machine.path / "bundle"
    bundle.mkdir()
    (bundle / "rootfs").symlink_to(machine.path / "rootfs")
    machine.ok(f"pyrunc spec --bundle {bundle}")
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["sh", "-c", "echo hello; exit 3"]}
    (bundle / "config.json").write_text(json.dumps(config))
    once, again = (f"cd {machine.path}; {script}" for script in commands("The shim"))
    assert machine.ok(once) == "hello\n3\n"
    config["process"]["args"] = ["sh"]
    (bundle / "config.json").write_text(json.dumps(config))
    assert machine.ok(again, input="echo $$ $((40 + 2)); exit\n") == "2 42\n"
    assert machine.ok("pyrunc list --quiet") == ""


def test_podman(containers):
    need("podman")
    machine = containers
    machine.ok(f"podman import --change ENV=PATH=/bin {machine.path}/rootfs.tar {IMAGE}")
    once, ever = commands("podman")
    assert machine.ok(once) == "hello\n"
    assert machine.verbs()[:2] == ["create", "start"]
    for name, text in files("podman").items():
        machine.write(name, text)
    assert machine.ok(ever) == "/usr/local/bin/pyrunc\nhello\n"
    assert machine.verbs()[:2] == ["create", "start"]
    failed = machine("podman run --rm alpine no-such")
    assert failed.returncode == 127, failed
    assert "--log-format=json" in (machine.path / "calls").read_text()


def test_rootless_podman(containers):
    """The same lines, in the place that is told for them."""
    need("podman", "newuidmap", "setpriv")
    machine, uid = containers, 1000
    home = machine.path / "home"
    (place,) = re.findall(r"`~/([^`]+)`", section("podman"))
    (home / place).parent.mkdir(parents=True)
    (text,) = files("podman").values()
    (home / place).write_text(text)
    (home / place).with_name("storage.conf").write_text('[storage]\ndriver = "vfs"\n')
    for each in [home, *home.rglob("*")]:
        os.chown(each, uid, uid)
    (machine.path / "calls").touch()
    (machine.path / "calls").chmod(0o666)
    machine.ok("; ".join(ordinary_user(uid, home)))
    machine.env |= {"HOME": str(home), "XDG_RUNTIME_DIR": f"/run/user/{uid}"}
    user = Machine((*machine.base[:-2], *become(uid)), machine.path)
    user.env = machine.env
    user.ok(f"podman import --change CMD=sh {machine.path}/rootfs.tar {IMAGE}")
    assert user.ok("podman run --rm --network none alpine echo hello") == "hello\n"
    assert user.verbs()[:2] == ["create", "start"]
    user.ok("podman system migrate")  # ends the process that holds the user namespace


def test_buildah(containers):
    need("buildah")
    machine = containers
    machine.ok(
        f'c=$(buildah from --name base scratch); buildah add "$c" {machine.path}/rootfs.tar /; '
        f'buildah config --cmd sh "$c"; buildah commit "$c" {IMAGE}; buildah rm "$c"'
    )
    machine.verbs()
    (script,) = commands("buildah")
    assert machine.ok(script).splitlines()[0] == "hello"
    assert machine.verbs()[:2] == ["create", "start"]


def test_docker(machine):
    if missing := dockerd.missing():
        pytest.skip(f"not found: {missing} (tools/unpack docker.io fetches what isn't installed)")
    for name, text in files("Docker").items():
        machine.write(name, text)
    with machine.running(f"dockerd --cgroup-parent /{dockerd.CGROUP}", "docker version"):
        machine.ok(f"docker import {machine.path}/rootfs.tar alpine")
        (script,) = commands("Docker")
        assert machine.ok(script) == "hello\n"
        assert machine.verbs()[:2] == ["create", "start"]


def test_containerd(machine):
    need("containerd", "ctr", "containerd-shim-runc-v2")
    for name, text in files("containerd").items():
        machine.write(name, text)
    with machine.running("containerd", "ctr version"):
        machine.ok(f"ctr image import {machine.path}/image.tar")
        (script,) = commands("containerd")
        assert machine.ok(script) == "hello\n"
        assert machine.verbs()[:2] == ["create", "start"]
        plugins = machine.ok("ctr plugin list")
        assert re.search(r"io.containerd.grpc.v1 +cri +.* ok", plugins), plugins
        dump = tomllib.loads(machine.ok("containerd config dump"))
    runtimes = dump["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
    assert runtimes["pyrunc"]["options"]["BinaryName"] == "/usr/local/bin/pyrunc"
    assert "runc" in runtimes


OWN_SHIM = "containerd, with pyrunc's shim"


@pytest.fixture
def own_shim(machine: Machine, runtime_command: str) -> Machine:
    """It is where `make install` puts it; and containerd's configuration is for it."""
    need("containerd", "ctr", "containerd-shim-runc-v2")
    (machine.path / "shim").mkdir()
    program = find_shim(runtime_command, machine.path / "shim")
    installed = f"/usr/local/bin/{program.name}"
    machine.write(installed, f'#!/bin/sh\nexec {program} "$@"\n')
    machine.ok(f"chmod 755 {installed}")
    for name, text in files(OWN_SHIM).items():
        machine.write(name, text)
    return machine


def test_containerd_with_our_shim(own_shim):
    machine = own_shim
    settings = {name: tomllib.loads(text) for name, text in files(OWN_SHIM).items()}
    with machine.running("containerd", "ctr version"):
        machine.ok(f"ctr image import {machine.path}/image.tar")
        (script,) = commands(OWN_SHIM)
        assert machine.ok(script) == "hello\n"
        plugins = machine.ok("ctr plugin list")
        assert re.search(r"io.containerd.grpc.v1 +cri +.* ok", plugins), plugins
        (path,) = (name for name, words in settings.items() if "Root" in words)
        machine.ok(script.replace("ctr run", f"ctr run --runtime-config-path {path}"))
    assert NAMESPACE in os.listdir(machine.root / settings[path]["Root"].lstrip("/"))
    assert machine.verbs() == [], "the shim needs no program"


def test_the_words_of_our_shims_options():
    said = set(re.findall(r"(?:^|`)((?:[A-Z][a-z]+)+)(?: =|`)", section(OWN_SHIM), re.M)) - {"ConfigPath"}
    with pytest.raises(PyruncError) as caught:
        from_words({"Nonsense": 1}, "")
    assert caught.value.hint == f"there are {', '.join(sorted(said))}"


# The host's needs: root here may have no right to lower oom_score_adj, and there is nowhere to pull from.
CRI_HOST_CONF = (
    '[plugins."io.containerd.grpc.v1.cri"]\nrestrict_oom_score_adj = true\n'
    'sandbox_image = "docker.io/library/pause:latest"\n'
)


@pytest.fixture(params=["containerd", OWN_SHIM])
def containerd(machine: Machine, request: pytest.FixtureRequest) -> Machine:
    """With the configuration of that section. What the test's host needs is added to it."""
    if request.param == OWN_SHIM:
        machine = request.getfixturevalue("own_shim")
    need("containerd", "ctr", "containerd-shim-runc-v2")
    name = "/etc/containerd/config.toml"
    machine.write(name, files(request.param)[name] + CRI_HOST_CONF)
    return machine


def test_a_pod_by_the_runtime_class(containerd):
    """What the kubelet asks of containerd's CRI plugin for a pod with the handler of the manifest."""
    machine = containerd
    runtime_class, pod = yaml.safe_load_all(manifests())
    pause = image.write_layout(
        machine.path / "rootfs", machine.path / "pause.tar", "docker.io/library/pause:latest",
        {"Cmd": ["/bin/sleep", "1000"]},
    )  # fmt: skip
    logs = machine.path / "logs"
    logs.mkdir()
    with machine.running("containerd", "ctr version"):
        for archive in (pause, machine.path / "image.tar"):
            machine.ok(f"ctr --namespace k8s.io image import {archive}")
        printed = cri.run_pod(
            machine.root / "run/containerd/containerd.sock", runtime_class["handler"], IMAGE,
            pod["spec"]["containers"][0]["command"], logs, f"/{NAMESPACE}",
        )  # fmt: skip
    assert printed == "hello\n"
    if (machine.root / "etc/containerd/pyrunc.toml").exists():
        assert (machine.root / "run/pyrunc-pods/k8s.io").is_dir(), "as the file's Root says"
        assert machine.verbs() == [], "the shim needs no program"
    else:
        assert machine.verbs().count("create") == 2, "the sandbox, and the container"


def test_the_runtime_class_is_what_the_configurations_call_it():
    runtime_class, pod = yaml.safe_load_all(manifests())
    jsonschema.validate(runtime_class, RUNTIME_CLASS)
    assert pod["spec"]["runtimeClassName"] == runtime_class["metadata"]["name"]
    for title in ("containerd", OWN_SHIM):
        containerd = tomllib.loads(files(title)["/etc/containerd/config.toml"])
        runtimes = containerd["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
        assert runtime_class["handler"] in runtimes
    (crio,) = (tomllib.loads(text) for text in files("CRI-O").values())
    assert runtime_class["handler"] in crio["crio"]["runtime"]["runtimes"]


def test_the_pod_of_the_manifest(containers):
    """podman plays the Pod, as it is; it knows no RuntimeClass."""
    need("podman", "catatonit")
    machine = containers
    for name, text in files("podman").items():
        machine.write(name, text)
    machine.ok(
        f"podman import --change ENV=PATH=/bin {machine.path}/rootfs.tar docker.io/library/busybox:latest"
    )
    machine.write("/root/hello.yaml", manifests())
    machine.ok("podman play kube --log-driver k8s-file /root/hello.yaml")
    assert machine.ok("podman wait hello-hello; podman logs hello-hello") == "0\nhello\n"
    assert machine.verbs().count("create") == 2
    machine.ok("podman pod rm --force --all --time 0")
