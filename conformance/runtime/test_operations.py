"""bundle, state and the five operations, with their errors."""

import json
import os
import shutil

import pytest
from support.waiting import until

from conformance.clauses import requirement


@requirement("ConfigInRootBundleDir", "ConfigConstName")
@pytest.mark.parametrize("elsewhere", ["rootfs/config.json", "config.JSON", "config"])
def test_a_config_in_another_place_is_not_found(runtime, bundle, elsewhere):
    bundle.write()
    (bundle.path / "config.json").rename(bundle.path / elsewhere)
    assert runtime("create", "--bundle", bundle.path, bundle.id).returncode != 0


@requirement("DefaultOperations", "CreateNewContainer", "QueryStateImplement", "StartProcImplement")
def test_a_container_goes_through_its_life(runtime, bundle):
    runtime.create(bundle, "sleep", "1000").ok()
    assert runtime.status(bundle) == "created"
    runtime.start(bundle).ok()
    assert runtime.status(bundle) == "running"
    runtime.stop(bundle)
    runtime.delete(bundle).ok()
    assert runtime("state", bundle.id).returncode != 0


@requirement("StateStatus", "StatePid", "StateBundle", "StateOciVersion", "DefaultStateJSONPattern")
def test_the_state_has_its_fields(runtime, running):
    state = runtime.state(running)
    assert state["ociVersion"].startswith("1.")
    assert state["id"] == running.id
    assert state["status"] == "running"
    assert state["bundle"] == str(running.path)
    with open(f"/proc/{state['pid']}/cmdline") as cmdline:
        assert cmdline.read() == "sleep\x001000\x00"


@requirement("StateStatus", "StatePid")
def test_the_state_of_a_created_and_of_a_stopped_container(runtime, bundle):
    runtime.create(bundle, "true").ok()
    state = runtime.state(bundle)
    assert (state["status"], os.path.exists(f"/proc/{state['pid']}")) == ("created", True)
    runtime.start(bundle).ok()
    runtime.until_status(bundle, "stopped")


@requirement("StateAnnotations")
def test_annotations_are_in_the_state(runtime, bundle):
    bundle.config["annotations"] = {"org.example.key": "value", "org.example.empty": ""}
    runtime.launch(bundle, "sleep", "1000")
    found = runtime.state(bundle)["annotations"]
    assert {"org.example.key": "value", "org.example.empty": ""}.items() <= found.items()


@requirement("QueryWithoutIDGenError")
def test_state_without_an_id(runtime):
    assert runtime("state").returncode != 0


@requirement("StartWithoutIDGenError")
def test_start_without_an_id(runtime):
    assert runtime("start").returncode != 0


@requirement("KillWithoutIDGenError")
def test_kill_without_an_id(runtime):
    assert runtime("kill").returncode != 0


@requirement("DeleteWithoutIDGenError")
def test_delete_without_an_id(runtime):
    assert runtime("delete").returncode != 0


@requirement("CreateWithBundlePathAndID")
def test_create_without_an_id_or_with_a_bundle_that_is_not_there(runtime, bundle):
    bundle.write()
    assert runtime("create", "--bundle", bundle.path).returncode != 0
    assert runtime("create", "--bundle", bundle.path / "none", bundle.id).returncode != 0


@requirement("QueryNonExistGenError")
@pytest.mark.parametrize("verb", ["state", "start", "kill", "delete"])
def test_a_container_that_does_not_exist(runtime, bundle, verb):
    assert runtime(verb, bundle.id).returncode != 0


@requirement("CreateWithUniqueID", "StateIDUniq")
def test_an_id_that_is_taken(runtime, running, new_bundle):
    pid = runtime.pid(running)
    assert runtime.create(new_bundle(), "true", id=running.id).returncode != 0
    assert (runtime.pid(running), runtime.status(running)) == (pid, "running")


@requirement("CreateWithUniqueID")
@pytest.mark.parametrize("id", ["", ".", "..", "../x", "a/b", "a b"])
def test_an_id_that_is_invalid(runtime, bundle, id):
    bundle.write()
    assert runtime("create", "--bundle", bundle.path, id).returncode != 0


@requirement("IDReusedAfterDelete")
def test_an_id_is_free_after_delete(runtime, bundle):
    for _ in range(2):
        runtime.launch(bundle, "sleep", "1000")
        runtime.stop(bundle)
        runtime.delete(bundle).ok()


@requirement("ProcNotRunAtResRequest", "ProcArgsApplyUntilStart", "ProcImplement")
def test_the_program_runs_at_start_and_not_at_create(runtime, bundle, work):
    out = work / "out"
    out.mkdir()
    bundle.bind(out, "/out")
    runtime.create(bundle, "touch", "/out/ran").ok()
    assert not (out / "ran").exists()
    runtime.start(bundle).ok()
    until(lambda: (out / "ran").exists(), "the program has run")


@requirement("ConfigUpdatesWithoutAffect")
def test_changes_after_create_have_no_effect(runtime, bundle, work):
    out = work / "out"
    out.mkdir()
    bundle.bind(out, "/out")
    runtime.create(bundle, "sh", "-c", "hostname > /out/tmp; mv /out/tmp /out/name").ok()
    bundle.config["hostname"] = "changed"
    bundle.process["args"] = ["sh", "-c", "echo changed > /out/name"]
    bundle.write()
    runtime.start(bundle).ok()
    until(lambda: (out / "name").exists(), "the program has run")
    assert (out / "name").read_text() == "inside\n"


@requirement("PropsApplyExceptProcOnCreate", "EnvCreateImplement")
def test_create_makes_the_environment(runtime, bundle):
    """Namespaces, mounts and the host name are there before start."""
    bundle.mount("/data", "tmpfs", "conformance")
    runtime.create(bundle, "true").ok()
    pid = runtime.pid(bundle)
    with open(f"/proc/{pid}/mountinfo") as mountinfo:
        assert " /data " in mountinfo.read()
    for name in ("pid", "net", "ipc", "uts", "mnt"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"), name


@requirement("PropApplyFailGenError", "PropApplyFailNotCreate", "EnvCreateError", "ErrorsLeaveStateUnchange")
def test_a_mount_that_cannot_be_made(bundle, refused):
    """Create fails, there is no container, and the fixture finds nothing left of it."""
    bundle.mount("/data", "nosuchfilesystem", "none")
    refused()


@requirement("StartNotCreatedGenError", "StartNotCreatedHaveNoEffect")
def test_start_of_a_running_container(runtime, running):
    pid = runtime.pid(running)
    assert runtime.start(running).returncode != 0
    assert (runtime.status(running), runtime.pid(running)) == ("running", pid)


@requirement("StartNotCreatedGenError", "StartNotCreatedHaveNoEffect")
def test_start_of_a_stopped_container(runtime, running):
    runtime.stop(running)
    assert runtime.start(running).returncode != 0
    assert runtime.status(running) == "stopped"


@requirement("KillSignalImplement")
@pytest.mark.parametrize("signal", ["USR1", "SIGUSR1", "10"])
def test_kill_sends_the_signal(runtime, bundle, work, signal):
    out = work / "out"
    out.mkdir()
    bundle.bind(out, "/out")
    script = "trap 'touch /out/got; exit' USR1; touch /out/ready; while :; do sleep 0.05; done"
    runtime.launch(bundle, "sh", "-c", script)
    until(lambda: (out / "ready").exists(), "the trap is set")
    runtime.kill(bundle, signal).ok()
    until(lambda: (out / "got").exists(), "the signal has come")


@requirement("KillSignalImplement")
def test_kill_of_a_created_container(runtime, bundle):
    runtime.create(bundle, "true").ok()
    runtime.stop(bundle)


@requirement("KillNonCreateRunGenError", "KillNonCreateRunHaveNoEffect")
def test_kill_of_a_stopped_container(runtime, running):
    runtime.stop(running)
    assert runtime.kill(running, "TERM").returncode != 0
    assert runtime.status(running) == "stopped"


@requirement("DeleteNonStopGenError", "DeleteNonStopHaveNoEffect")
def test_delete_of_a_running_container(runtime, running):
    pid = runtime.pid(running)
    assert runtime.delete(running).returncode != 0
    assert (runtime.status(running), runtime.pid(running)) == ("running", pid)


@requirement("DeleteNonStopGenError", "DeleteNonStopHaveNoEffect")
def test_delete_of_a_created_container(runtime, bundle):
    runtime.create(bundle, "true").ok()
    assert runtime.delete(bundle).returncode != 0
    assert runtime.status(bundle) == "created"


@requirement("DeleteResImplement", "UndoCreateSteps")
def test_delete_removes_what_create_made(runtime, running):
    runtime.stop(running)
    runtime.delete(running).ok()
    runtime.require_clean()


@requirement("DeleteOnlyCreatedRes")
def test_delete_leaves_what_create_did_not_make(runtime, bundle, work):
    out = work / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    bundle.bind(out, "/out")
    runtime.launch(bundle, "sleep", "1000")
    runtime.stop(bundle)
    runtime.delete(bundle).ok()
    assert (out / "mine").read_text() == "mine"
    assert (bundle.rootfs / "bin/busybox").is_file()
    assert json.loads((bundle.path / "config.json").read_text())["process"]["args"] == ["sleep", "1000"]


@requirement("StartWithProcUnsetGenError", "ProcRequiredAtStart")
def test_without_a_process_start_is_an_error(runtime, bundle):
    """A runtime may already refuse to create it."""
    del bundle.config["process"]
    bundle.write()
    created = runtime("create", "--bundle", bundle.path, runtime.remember(bundle.id))
    if created.returncode == 0:
        assert runtime.start(bundle).returncode != 0


@requirement("StateBundle")
def test_the_bundle_of_the_state_is_absolute(runtime, bundle):
    bundle.process["args"] = ["true"]
    bundle.write()
    runtime("create", "--bundle", ".", runtime.remember(bundle.id), cwd=bundle.path).ok()
    assert runtime.state(bundle)["bundle"] == str(bundle.path)


@requirement("DeleteResImplement")
def test_delete_works_when_the_bundle_is_gone(runtime, running):
    runtime.stop(running)
    shutil.rmtree(running.path)
    runtime.delete(running).ok()
