"""As an ordinary user: a user namespace of the container's own, and cgroups only where they are delegated."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from support.host import needs_namespace

UID = 54321
BECOME_USER = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all")
pytestmark = pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")


@pytest.fixture
def user(runtime, bundle, work):
    """`call(*words)`: the runtime, as a user without any right, with a state root of his own."""
    (work / "run").mkdir()
    bundle.path.joinpath("config.json").unlink(missing_ok=True)
    for directory, _, files in os.walk(work):
        for name in (directory, *(os.path.join(directory, file) for file in files)):
            os.lchown(name, UID, UID)

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        # what `create` starts would hold a pipe open
        streams = {"stderr": subprocess.PIPE} if words[0] != "create" else {"stderr": subprocess.DEVNULL}
        streams["stdout"] = streams["stderr"]
        return subprocess.run(
            [*BECOME_USER, runtime.command, *words],
            cwd=bundle.path, stdin=subprocess.DEVNULL, text=True, timeout=60, **streams,
            env={"XDG_RUNTIME_DIR": str(work / "run"), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip

    done = call("spec", "--rootless")
    assert done.returncode == 0, done.stderr
    yield call
    call("delete", "--force", bundle.id)


def change(bundle, **process):
    path = bundle.path / "config.json"
    document = json.loads(path.read_text())
    document["process"] |= {"terminal": False, **process}
    path.write_text(json.dumps(document))


def test_a_life_without_rights(user, bundle):
    change(bundle, args=["sh", "-c", "id -u; cat /proc/self/uid_map; grep CapEff /proc/self/status"])
    done = user("run", bundle.id)
    assert done.returncode == 0, done.stderr
    uid, id_map, caps = done.stdout.splitlines()
    assert uid == "0"
    assert id_map.split() == ["0", str(UID), "1"]
    assert caps.split()[1] != "0" * 16


@needs_namespace("time")
def test_clocks_of_its_own(user, bundle):
    """The user namespace gives the right to them, so it comes first."""
    change(bundle, args=["cat", "/proc/self/timens_offsets", "/proc/self/uid_map"])
    path = bundle.path / "config.json"
    document = json.loads(path.read_text())
    document["linux"]["namespaces"].append({"type": "time"})
    document["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000}}
    path.write_text(json.dumps(document))
    done = user("run", bundle.id)
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["monotonic", "0", "0"], ["boottime", "1000000", "0"], ["0", str(UID), "1"],
    ]  # fmt: skip


def test_verbs(user, bundle):
    change(bundle, args=["sleep", "1000"])
    assert user("create", bundle.id).returncode == 0
    assert json.loads(user("state", bundle.id).stdout)["status"] == "created"
    assert user("start", bundle.id).returncode == 0
    done = user("exec", bundle.id, "sh", "-c", "id -u; cat /proc/1/cmdline; exit 4")
    assert (done.returncode, done.stdout) == (4, "0\nsleep\x001000\x00"), done.stderr
    assert user("kill", bundle.id, "KILL").returncode == 0
    assert user("delete", "--force", bundle.id).returncode == 0
    assert "does not exist" in user("state", bundle.id).stderr


def test_a_program_that_is_not_there(user, bundle):
    change(bundle, args=["nope"])
    done = user("run", bundle.id)
    assert done.returncode == 1
    assert 'exec: "nope": executable file not found in $PATH' in done.stderr.replace('\\"', '"')
    assert "does not exist" in user("state", bundle.id).stderr


def test_limits_that_cannot_be_set_are_an_error_with_a_way_out(user, bundle):
    path = bundle.path / "config.json"
    document = json.loads(path.read_text())
    document["process"] |= {"terminal": False, "args": ["true"]}
    document["linux"]["resources"] = {"memory": {"limit": 1 << 26}}
    path.write_text(json.dumps(document))
    done = user("run", bundle.id)
    assert done.returncode == 1
    assert "/linux/resources/memory" in done.stderr
    assert "delegat" in done.stderr


def test_in_a_user_namespace_of_the_callers(user, bundle, runtime, work):
    """As rootless podman does it: we are root in there, but have no right to the pid namespace that we come
    from, so that a process which has joined the container's can't come back."""
    change(bundle, args=["sleep", "1000"])
    path = bundle.path / "config.json"
    document = json.loads(path.read_text())
    linux = document["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "user"]
    del linux["uidMappings"], linux["gidMappings"]
    path.write_text(json.dumps(document))
    run = f"{runtime.command} --root {work}/run"
    script = (
        f"trap '{run} delete --force {bundle.id}' EXIT; {run} run --detach {bundle.id} >/dev/null 2>&1; "
        f"{run} exec {bundle.id} cat /proc/1/comm; {run} exec {bundle.id} id -u"
    )
    done = subprocess.run(
        [*BECOME_USER, "unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script],
        cwd=bundle.path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": f"{work}/run"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["sleep", "0"]


def test_a_config_without_a_user_namespace_gets_one(user, bundle):
    """That of `spec`, which is for root. As with crun."""
    bundle.path.joinpath("config.json").unlink()
    assert user("spec").returncode == 0
    change(bundle, args=["sh", "-c", "id -u; cat /proc/self/uid_map"])
    done = user("run", bundle.id)
    assert done.returncode == 0, done.stderr
    uid, id_map = done.stdout.splitlines()
    assert uid == "0"
    assert id_map.split() == ["0", str(UID), "1"]
    change(bundle, args=["sleep", "1000"])
    assert user("create", bundle.id).returncode == 0
    assert user("start", bundle.id).returncode == 0
    done = user("exec", bundle.id, "cat", "/proc/self/uid_map")
    assert done.stdout.split() == ["0", str(UID), "1"], done.stderr
