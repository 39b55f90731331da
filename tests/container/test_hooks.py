"""hooks: order, state on stdin, namespaces, failure, time-out, environment, working directory."""

import json
import os
import time

import pytest
from support import fields
from support.fields import covers
from support.marks import deviation
from support.waiting import until

RUNTIME = ("prestart", "createRuntime", "poststart", "poststop")  # these run in the runtime's namespaces
CONTAINER = ("createContainer", "startContainer")
BEFORE_START = ("prestart", "createRuntime", "createContainer")
ALL = (*BEFORE_START, "startContainer", "poststart", "poststop")


@pytest.fixture
def out(work, bundle):
    """A directory that hooks can write to under one name: before pivot_root it is the host's, after it
    a bind mount."""
    made = work / "out"
    made.mkdir()
    bundle.bind(made, str(made))
    return made


def hook(script, **more):
    """/bin/sh is there on both sides."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **more}


def set_hooks(bundle, script, kinds=ALL, **more):
    bundle.config["hooks"] = {kind: [hook(script.format(kind=kind), **more)] for kind in kinds}


@deviation("runc", reason="runs poststart when it has created the container", before="1.3")
@covers("/hooks/(prestart|createRuntime|createContainer|startContainer|poststart|poststop)/*/path")
def test_all_six_in_their_order(runtime, bundle, out):
    """poststart runs beside the program, so that one of the two comes first."""
    set_hooks(bundle, f"echo {{kind}} >> {out}/order")
    runtime.create(bundle, "sh", "-c", f"echo program >> {out}/order; sleep 1000").ok()
    order = out / "order"
    assert order.read_text().split() == ["prestart", "createRuntime", "createContainer"]
    runtime.start(bundle).ok()
    until(lambda: len(order.read_text().split()) == 6, "all have run")
    assert order.read_text().split()[3] == "startContainer"
    assert set(order.read_text().split()[4:]) == {"poststart", "program"}
    runtime.stop(bundle)
    assert len(order.read_text().split()) == 6
    runtime.delete(bundle).ok()
    assert order.read_text().split()[6:] == ["poststop"]


def test_several_of_a_kind_run_as_listed(runtime, bundle, out):
    bundle.config["hooks"] = {
        kind: [hook(f"echo {kind}{n} >> {out}/{kind}") for n in range(3)] for kind in ALL
    }
    runtime.run(bundle, "true").ok()
    for kind in ALL:
        assert (out / kind).read_text().split() == [f"{kind}{n}" for n in range(3)]


def test_delete_by_force_runs_poststop(runtime, running, work):
    runtime.delete(running, force=True).ok()
    set_hooks(running, f"echo {{kind}} >> {work}/order", kinds=("poststop",))
    runtime.launch(running, "sleep", "1000")
    runtime.delete(running, force=True).ok()
    assert (work / "order").read_text() == "poststop\n"


@covers("state:/status=creating")
def test_the_state_comes_on_standard_input(runtime, bundle, out):
    bundle.config["annotations"] = {"key": "value"}
    set_hooks(bundle, f"cat > {out}/{{kind}}.json")
    runtime.create(bundle, "sleep", "1000").ok()
    pid = runtime.pid(bundle)
    runtime.start(bundle).ok()
    runtime.stop(bundle)
    runtime.delete(bundle).ok()
    states = {kind: json.loads((out / f"{kind}.json").read_text()) for kind in ALL}
    for kind, state in states.items():
        fields.saw(fields.STATE, state)
        assert state["id"] == bundle.id, kind
        assert state["bundle"] == str(bundle.path), kind
        assert state["annotations"] == {"key": "value"}, kind
        assert state["ociVersion"].startswith("1."), kind
        if kind != "poststop":  # as seen from the namespaces that the hook is in
            assert state["pid"] == (1 if kind in CONTAINER else pid), kind
    for kind in BEFORE_START:
        assert states[kind]["status"] == "creating"
    assert states["poststop"]["status"] == "stopped"


@deviation("runc", reason="runs poststart when it has created the container", before="1.3")
def test_poststart_sees_a_running_container(runtime, bundle, out):
    set_hooks(bundle, f"cat > {out}/state", kinds=("poststart",))
    runtime.create(bundle, "sleep", "1000").ok()
    runtime.start(bundle).ok()
    assert json.loads((out / "state").read_text())["status"] == "running"


def test_namespaces(runtime, bundle, out):
    """createContainer is in the container's namespaces, but still sees the host's files."""
    script = f"for ns in mnt net; do readlink /proc/self/ns/$ns; done > {out}/{{kind}}"
    set_hooks(bundle, script)
    runtime.run(bundle, "sh", "-c", script.format(kind="program")).ok()
    seen = {kind: (out / kind).read_text().split() for kind in (*ALL, "program")}
    host = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "net")]
    for kind in RUNTIME:
        assert seen[kind] == host, kind
    for kind in CONTAINER:
        assert seen[kind] == seen["program"], kind
    assert seen["program"][0] != host[0]


def test_a_hook_in_the_container_is_found_there(runtime, bundle, out):
    (bundle.rootfs / "bin/only-inside").write_text(f"#!/bin/sh\necho inside > {out}/inside\n")
    (bundle.rootfs / "bin/only-inside").chmod(0o755)
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/only-inside"}]}
    runtime.run(bundle, "true").ok()
    assert (out / "inside").read_text() == "inside\n"


def test_create_container_sees_the_containers_mounts_below_the_rootfs(runtime, bundle, out):
    set_hooks(bundle, f"cp /proc/self/mountinfo {out}/mounts", kinds=("createContainer",))
    runtime.run(bundle, "true").ok()
    assert f"{bundle.rootfs}/proc " in (out / "mounts").read_text()


def test_cgroup_limits_and_namespaces_are_there_for_the_first_hook(runtime, bundle, out):
    """CNI and GPU hooks rely on both."""
    bundle.resources["pids"] = {"limit": 77}
    script = (
        f"pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' | head -1); cp /proc/$pid/cgroup {out}/cgroup; "
        f"readlink /proc/$pid/ns/net > {out}/net"
    )
    bundle.config["hooks"] = {"prestart": [hook(script)]}
    runtime.run(bundle, "sh", "-c", f"readlink /proc/self/ns/net > {out}/program").ok()
    assert bundle.id in (out / "cgroup").read_text()
    assert (out / "net").read_text() == (out / "program").read_text()


def test_the_working_directory_is_the_bundle(runtime, bundle, out):
    kinds = ("prestart", "createRuntime")
    set_hooks(bundle, f"pwd > {out}/{{kind}}", kinds=kinds)
    runtime.run(bundle, "true", cwd=out).ok()
    for kind in kinds:
        assert (out / kind).read_text() == f"{bundle.path}\n"


def copy_environment(out, kind, **more):
    """cp shows what it was given, where a shell would add its own."""
    return {"path": "/bin/cp", "args": ["cp", "/proc/self/environ", f"{out}/{kind}"], **more}


@covers("/hooks/(prestart|createRuntime|createContainer|startContainer|poststart|poststop)/*/env")
def test_the_environment_is_the_hooks(runtime, bundle, out):
    given = ["PATH=/bin:/usr/bin", "ONLY=this"]
    bundle.config["hooks"] = {kind: [copy_environment(out, kind, env=given)] for kind in ALL}
    runtime.run(bundle, "true").ok()
    for kind in ALL:
        assert (out / kind).read_text().rstrip("\0").split("\0") == given, kind


def test_without_one_the_environment_is_the_runtimes_or_the_containers(runtime, bundle, out):
    bundle.setenv("OF", "container")
    kinds = ("prestart", "createRuntime", "startContainer", "poststart", "poststop")
    bundle.config["hooks"] = {kind: [copy_environment(out, kind)] for kind in kinds}
    runtime.run(bundle, "true", env={**os.environ, "OF": "runtime"}).ok()
    for kind in kinds:
        wanted = "OF=container" if kind == "startContainer" else "OF=runtime"
        assert wanted in (out / kind).read_text().split("\0"), kind


@pytest.mark.parametrize("kind", ALL)
@covers("/hooks/{kind}/*/args")
def test_the_arguments_are_the_hooks(runtime, bundle, out, kind):
    arguments = ["cp", "/proc/self/cmdline", f"{out}/arguments"]
    bundle.config["hooks"] = {kind: [{"path": "/bin/cp", "args": arguments}]}
    runtime.run(bundle, "true").ok()
    assert (out / "arguments").read_text().split("\0")[:-1] == arguments


def test_the_arguments_are_the_hooks_from_the_first_on(runtime, bundle, out):
    script = f"cat /proc/$$/cmdline > {out}/arguments"
    bundle.config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["another-name", "-c", script, "x", "a b"]}]
    }
    runtime.run(bundle, "true").ok()
    assert (out / "arguments").read_text().split("\0")[:-1] == ["another-name", "-c", script, "x", "a b"]


def test_a_hook_without_arguments_has_its_path(runtime, bundle, out):
    (out / "script").write_text(f"#!/bin/sh\ncat /proc/$$/cmdline > {out}/arguments\n")
    (out / "script").chmod(0o755)
    bundle.config["hooks"] = {"createRuntime": [{"path": str(out / "script")}]}
    runtime.run(bundle, "true").ok()
    assert (out / "arguments").read_text().split("\0")[:-1] == ["/bin/sh", str(out / "script")]


# -- failure ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BEFORE_START)
def test_a_failing_hook_fails_create(runtime, bundle, out, kind):
    bundle.config["hooks"] = {
        kind: [hook("echo first"), hook("echo to-out; echo to-err >&2; exit 7"), hook(f"touch {out}/third")],
        "poststop": [hook(f"touch {out}/poststop")],
    }
    done = runtime.create(bundle, "touch", f"{out}/ran").failed("hook", "exit status 7")
    assert "to-err" in done.stderr
    runtime("state", bundle.id).failed("does not exist")
    assert os.listdir(out) in ([], ["poststop"])


@pytest.mark.parametrize("kind", BEFORE_START)
def test_a_failing_hook_fails_run(runtime, bundle, out, kind):
    set_hooks(bundle, "exit 3", kinds=(kind,))
    runtime.run(bundle, "touch", f"{out}/ran").failed("exit status 3")
    assert os.listdir(out) == []


def test_a_failing_hook_in_the_container_stops_it_before_the_program(runtime, bundle, out):
    set_hooks(bundle, "exit 3", kinds=("startContainer",))
    done = runtime.run(bundle, "touch", f"{out}/ran")
    assert done.returncode != 0, done
    assert os.listdir(out) == []


def test_a_failing_poststop_hook_does_not_fail_delete(runtime, bundle, out):
    bundle.config["hooks"] = {"poststop": [hook("exit 3"), hook(f"touch {out}/second")]}
    runtime.launch(bundle, "true")
    runtime.until_status(bundle, "stopped")
    done = runtime.delete(bundle).ok()
    assert "exit status 3" in done.stderr
    runtime("state", bundle.id).failed("does not exist")


@deviation("runc", reason="stops at the first poststop hook that fails")
def test_all_poststop_hooks_run_even_if_one_fails(runtime, bundle, out):
    bundle.config["hooks"] = {"poststop": [hook("exit 3"), hook(f"touch {out}/second")]}
    runtime.run(bundle, "true")
    assert os.listdir(out) == ["second"]


def test_a_hook_killed_by_a_signal(runtime, bundle):
    set_hooks(bundle, "kill -9 $$", kinds=("createRuntime",))
    runtime.create(bundle).failed("signal: killed")


@pytest.mark.parametrize("kind", ALL)
@covers("/hooks/{kind}/*/timeout")
def test_a_hook_that_takes_too_long(runtime, bundle, kind):
    """After the container's end that is a warning."""
    set_hooks(bundle, "exec sleep 100", kinds=(kind,), timeout=1)
    begin = time.monotonic()
    done = runtime.run(bundle, "true")
    assert 0.9 < time.monotonic() - begin < 60
    if kind != "poststop":
        done.failed("hook")


def test_a_hook_in_time(runtime, bundle, out):
    set_hooks(bundle, f"sleep 0.1; echo x >> {out}/done", timeout=20)
    runtime.run(bundle, "true").ok()
    assert (out / "done").read_text().split() == ["x"] * 6


@pytest.mark.parametrize("path", ["/no/such/hook", "/etc/passwd", "/etc"])
def test_a_hook_that_cannot_be_run(runtime, bundle, path):
    bundle.config["hooks"] = {"createRuntime": [{"path": path}]}
    runtime.create(bundle).failed(path)
    runtime("state", bundle.id).failed("does not exist")


@deviation("runc", reason="looks a relative path up in the bundle")
def test_a_relative_path_is_refused(runtime, bundle):
    (bundle.path / "hook").write_text("#!/bin/sh\n")
    (bundle.path / "hook").chmod(0o755)
    bundle.config["hooks"] = {"createRuntime": [{"path": "./hook"}]}
    runtime.create(bundle).failed("absolute")


def test_a_hook_that_does_not_read_its_input(runtime, bundle):
    bundle.config["annotations"] = {"large": "x" * 200_000}
    set_hooks(
        bundle, "exit 0", kinds=("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    )
    runtime.run(bundle, "true").ok()


def test_a_hooks_output_does_not_reach_the_containers(runtime, bundle):
    set_hooks(bundle, "echo noise; echo noise >&2")
    done = runtime.run(bundle, "echo", "program").ok()
    assert "noise" not in done.stderr
    assert done.stdout.replace("noise\n", "") == "program\n"
