"""kill --all, and what one signal reaches in a shared pid namespace."""

from support import leaks
from support.waiting import until


def test_kill_all(runtime, bundle):
    child = "trap 'echo child; exit' TERM; echo ready; while :; do sleep 0.01; done"
    script = f'sh -c "{child}" & trap "wait; echo init; exit" TERM; wait; wait'
    created = runtime.launch(bundle, "sh", "-c", script)
    until(lambda: created.stdout == "ready\n", "both are there")
    runtime("kill", "--all", bundle.id, "TERM").ok()
    runtime.until_status(bundle, "stopped")
    assert "child\n" in created.stdout


def test_kill_all_of_a_stopped_container_is_no_error(runtime, running):
    """containerd does so after init has ended, in case others are left."""
    runtime.stop(running)
    runtime("kill", "--all", running.id, "9").ok()


def test_kill_all_reaches_what_outlived_init(runtime, bundle):
    bundle.share("pid")
    created = runtime.launch(bundle, "sh", "-c", "sleep 1000 & echo $!; sleep 0.05")
    until(lambda: created.stdout, "the child is there")
    survivor = int(created.stdout)
    runtime.until_status(bundle, "stopped")
    runtime("kill", "-a", bundle.id, "KILL").ok()
    assert leaks.reap(survivor) == -9


def test_kill_of_init_ends_all_in_a_shared_pid_namespace(runtime, bundle):
    bundle.share("pid")
    created = runtime.launch(bundle, "sh", "-c", "sleep 1000 & echo $!; wait")
    until(lambda: created.stdout, "the child is there")
    child = int(created.stdout)
    runtime.kill(bundle, "KILL").ok()
    runtime.until_status(bundle, "stopped")
    runtime.delete(bundle).ok()
    assert leaks.reap(child) == -9
