"""hooks: order, timing, namespaces, the state on standard input, failure."""

import json
import os
import time
from pathlib import Path

import pytest
from support.waiting import until

from conformance.clauses import requirement

RUNTIME = ("prestart", "createRuntime", "poststart", "poststop")
CONTAINER = ("createContainer", "startContainer")
ALL = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@pytest.fixture
def out(work, bundle):
    """A directory with one name on both sides: before pivot_root the host's, then a bind mount."""
    made = work / "out"
    made.mkdir()
    bundle.bind(made, str(made))
    return made


def hook(script, **more):
    """Reads its state: of a runtime that is confused by one who doesn't, one test tells."""
    return {"path": "/bin/sh", "args": ["sh", "-c", f'STATE="$(cat)"; {script}'], **more}


def set_hooks(bundle, script, kinds=ALL):
    bundle.config["hooks"] = {kind: [hook(script.replace("KIND", kind))] for kind in kinds}


def order_of(out):
    return (out / "order").read_text().split() if (out / "order").exists() else []


def run_through(runtime, bundle, *command):
    """A detached life, so that every hook has run at the end."""
    runtime.launch(bundle, *command or ("sleep", "1000"))
    until_the_program_runs(runtime, bundle)
    runtime.stop(bundle)
    runtime.delete(bundle).ok()


def until_the_program_runs(runtime, bundle):
    """Start may return while the hooks of the container still run."""
    comm = Path(f"/proc/{runtime.pid(bundle)}/comm")
    until(lambda: comm.read_text() == "sleep\n", "the program runs")


@requirement("PrestartTiming", "CreateRuntimeTiming", "CreateContainerTiming")
def test_hooks_of_create(runtime, bundle, out):
    """All three, in this order, before create returns; the others not yet."""
    set_hooks(bundle, f"echo KIND >> {out}/order")
    runtime.create(bundle, "sleep", "1000").ok()
    assert order_of(out) == ["prestart", "createRuntime", "createContainer"]


@requirement("StartContainerTiming")
def test_start_container_is_called_in_start_before_the_program(runtime, bundle, out):
    set_hooks(bundle, f"sleep 0.2; echo KIND >> {out}/order", kinds=("startContainer",))
    runtime.create(bundle, "sh", "-c", f"echo program >> {out}/order; sleep 1000").ok()
    assert order_of(out) == []
    runtime.start(bundle).ok()
    while len(order_of(out)) < 2:
        time.sleep(0.01)
    assert order_of(out) == ["startContainer", "program"]


@requirement("PoststartTiming")
def test_poststart_is_called_in_start(runtime, bundle, out):
    set_hooks(bundle, f"sleep 0.1; echo KIND >> {out}/order", kinds=("poststart",))
    runtime.create(bundle, "sleep", "1000").ok()
    assert order_of(out) == []
    runtime.start(bundle).ok()
    assert order_of(out) == ["poststart"]


@requirement("PoststopTiming")
def test_poststop_is_called_in_delete(runtime, bundle, out):
    set_hooks(bundle, f"sleep 0.1; echo KIND >> {out}/order", kinds=("poststop",))
    runtime.launch(bundle, "sleep", "1000")
    runtime.stop(bundle)
    assert order_of(out) == []
    runtime.delete(bundle).ok()
    assert order_of(out) == ["poststop"]


@requirement("PosixHooksCalledInOrder")
@pytest.mark.parametrize("kind", ALL)
def test_several_of_a_kind_in_the_listed_order(runtime, bundle, out, kind):
    bundle.config["hooks"] = {kind: [hook(f"echo {n} >> {out}/order") for n in range(3)]}
    run_through(runtime, bundle)
    assert order_of(out) == ["0", "1", "2"]


@requirement("PosixHooksStateToStdin")
@pytest.mark.parametrize("kind", ALL)
def test_the_state_comes_on_standard_input(runtime, bundle, out, kind):
    bundle.config["annotations"] = {"org.example.key": "value"}
    set_hooks(bundle, f'printf %s "$STATE" > {out}/state', kinds=(kind,))
    run_through(runtime, bundle)
    state = json.loads((out / "state").read_text())
    assert state["id"] == bundle.id
    assert state["bundle"] == str(bundle.path)
    assert state["ociVersion"].startswith("1.")
    assert state["annotations"]["org.example.key"] == "value"


@requirement("PosixHooksStateToStdin")
@pytest.mark.parametrize("kind", ["createRuntime", "poststart", "poststop"])
def test_a_hook_may_leave_its_state_unread(runtime, bundle, kind):
    """One that is larger than a pipe holds, so that the runtime still writes when the hook is gone."""
    bundle.config["annotations"] = {"org.example.key": "x" * 100_000}
    bundle.config["hooks"] = {kind: [{"path": "/bin/true"}]}
    run_through(runtime, bundle)


@requirement("PosixHooksStateToStdin", "StateStatus")
@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("prestart", ("creating", "created")),
        ("createRuntime", ("creating", "created")),
        ("createContainer", ("creating", "created")),
        ("startContainer", ("created", "starting")),
        ("poststart", ("running",)),
        ("poststop", ("stopped",)),
    ],
)
def test_the_status_fits_the_moment(runtime, bundle, out, kind, statuses):
    set_hooks(bundle, f'printf %s "$STATE" > {out}/state', kinds=(kind,))
    run_through(runtime, bundle)
    assert json.loads((out / "state").read_text())["status"] in statuses


def namespaces_of(runtime, bundle, out, kind):
    script = f"for ns in mnt net uts ipc; do readlink /proc/self/ns/$ns; done > {out}/"
    set_hooks(bundle, script + kind, kinds=(kind,))
    runtime.create(bundle, "sleep", "1000").ok()
    pid = runtime.pid(bundle)
    inside = [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("mnt", "net", "uts", "ipc")]
    runtime.start(bundle).ok()
    until_the_program_runs(runtime, bundle)
    runtime.stop(bundle)
    runtime.delete(bundle).ok()
    outside = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "net", "uts", "ipc")]
    return (out / kind).read_text().split(), inside, outside


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("prestart", marks=requirement("PrestartNamespace")),
        pytest.param("createRuntime", marks=requirement("CreateRuntimeNamespace")),
        pytest.param("poststart", marks=requirement("PoststartNamespace")),
        pytest.param("poststop", marks=requirement("PoststopNamespace")),
    ],
)
def test_in_the_runtimes_namespaces(runtime, bundle, out, kind):
    seen, _, outside = namespaces_of(runtime, bundle, out, kind)
    assert seen == outside


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("createContainer", marks=requirement("CreateContainerNamespace")),
        pytest.param("startContainer", marks=requirement("StartContainerNamespace")),
    ],
)
def test_in_the_containers_namespaces(runtime, bundle, out, kind):
    seen, inside, _ = namespaces_of(runtime, bundle, out, kind)
    assert seen == inside


def only_on_host(work, out):
    program = work / "only-on-host"
    program.write_text(f"#!/bin/sh\ncat > /dev/null\necho ran >> {out}/order\n")
    program.chmod(0o755)
    return str(program)


@requirement("CreateContainerPath")
def test_a_create_container_hook_is_found_outside(runtime, bundle, work, out):
    bundle.config["hooks"] = {"createContainer": [{"path": only_on_host(work, out)}]}
    runtime.create(bundle, "true").ok()
    assert order_of(out) == ["ran"]


@requirement("StartContainerPath")
def test_a_start_container_hook_is_found_inside(runtime, bundle, out):
    program = bundle.rootfs / "bin/only-inside"
    program.write_text(f"#!/bin/sh\ncat > /dev/null\necho inside >> {out}/order\n")
    program.chmod(0o755)
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/only-inside"}]}
    run_through(runtime, bundle)
    assert order_of(out) == ["inside"]


@requirement("CreateContainerTiming")
def test_create_container_sees_the_mounts_below_the_rootfs(runtime, bundle, out):
    """They are made, and pivot_root is still to come."""
    set_hooks(bundle, f"cat /proc/self/mountinfo > {out}/mounts", kinds=("createContainer",))
    runtime.create(bundle, "true").ok()
    assert f" {bundle.rootfs}/proc " in (out / "mounts").read_text()


@requirement("CreateRuntimeBeforePivot")
def test_create_runtime_finds_the_namespaces(runtime, bundle, out):
    """The pid of the state is a process in new namespaces, still with the host's root."""
    script = (
        "pid=$(printf '%s\n' \"$STATE\" | sed 's/.*\"pid\" *: *\\([0-9]*\\).*/\\1/' | grep -m1 '^[0-9]*$'); "
        f"readlink /proc/$pid/ns/net > {out}/net; ls -d /proc/$pid/root{out}/.. > {out}/root"
    )
    set_hooks(bundle, script, kinds=("createRuntime",))
    bundle.unmount("/dev/mqueue")
    runtime.create(bundle, "true").ok()
    pid = runtime.pid(bundle)
    assert (out / "net").read_text().strip() == os.readlink(f"/proc/{pid}/ns/net")
    assert (out / "root").read_text() != ""


@requirement("PosixHooksArgsEnv")
def test_args_and_env_are_as_given(runtime, bundle, out):
    bundle.config["hooks"] = {
        "createRuntime": [
            {
                "path": "/bin/sh",
                "args": ["my-name", "-c", f'echo "$0 $1|$KEY" > {out}/order', "zero", "one"],
                "env": ["KEY=value of key"],
            }
        ]
    }
    runtime.create(bundle, "true").ok()
    assert (out / "order").read_text() == "zero one|value of key\n"


@requirement("PosixHooksPathAbs", "ValidValues")
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststop"])
def test_a_relative_path_is_an_error(bundle, refused, kind):
    bundle.config["hooks"] = {kind: [{"path": "bin/true"}]}
    refused()


@requirement("PosixHooksTimeoutPositive", "ValidValues")
@pytest.mark.parametrize("timeout", [0, -1])
def test_a_timeout_that_is_not_positive_is_an_error(bundle, refused, timeout):
    bundle.config["hooks"] = {"createRuntime": [hook("true", timeout=timeout)]}
    refused()


@requirement("PosixHooksTimeoutAborts")
def test_a_hook_that_takes_too_long_is_aborted(bundle, refused):
    bundle.config["hooks"] = {"createRuntime": [hook("exec sleep 20", timeout=1)]}
    started = time.monotonic()
    refused()
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("prestart", marks=requirement("PrestartHookFailGenError")),
        pytest.param("createRuntime", marks=requirement("CreateRuntimeHookFailGenError")),
        pytest.param("createContainer", marks=requirement("CreateContainerHookFailGenError")),
    ],
)
def test_a_failure_in_create(runtime, bundle, out, refused, kind):
    """Create is an error, no later hook of the kind runs, and there is no container."""
    bundle.config["hooks"] = {kind: [hook("exit 3"), hook(f"echo late >> {out}/order")]}
    refused()
    assert order_of(out) == []


@requirement("StartContainerHookFailGenError")
def test_a_failure_of_start_container(runtime, bundle, out):
    """The program does not run, and the container is stopped."""
    bundle.config["hooks"] = {"startContainer": [hook("exit 3")]}
    runtime.create(bundle, "sh", "-c", f"echo program > {out}/order; sleep 1000").ok()
    runtime.start(bundle)
    stopped = runtime("state", bundle.id)
    if stopped.returncode == 0:
        runtime.until_status(bundle, "stopped")
    assert order_of(out) == []


@requirement("StartContainerHookFailGenError")
def test_a_failure_of_start_container_makes_start_an_error(runtime, bundle):
    bundle.config["hooks"] = {"startContainer": [hook("exit 3")]}
    runtime.create(bundle, "sleep", "1000").ok()
    assert runtime.start(bundle).returncode != 0


@requirement("PoststartHookFailGenError")
def test_a_failure_of_poststart(runtime, bundle):
    bundle.config["hooks"] = {"poststart": [hook("exit 3")]}
    runtime.create(bundle, "sleep", "1000").ok()
    assert runtime.start(bundle).returncode != 0
    state = runtime("state", bundle.id)
    if state.returncode == 0:
        runtime.until_status(bundle, "stopped")


@requirement("PoststopHookFailGenWarn", "WarningsLeaveFlowUnchange")
def test_a_failure_of_poststop(runtime, bundle, out):
    bundle.config["hooks"] = {"poststop": [hook("exit 3"), hook(f"echo next >> {out}/order")]}
    run_through(runtime, bundle)
    assert order_of(out) == ["next"]
    assert runtime("state", bundle.id).returncode != 0
