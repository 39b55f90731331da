"""pause and resume, and signals to a container that is frozen."""

import time

from support.waiting import until


def test_pause_and_resume(runtime, bundle):
    script = "while :; do echo x; sleep 0.01; done"
    created = runtime.launch(bundle, "sh", "-c", script)
    until(lambda: len(created.stdout) > 4, "it runs")
    assert runtime("pause", bundle.id).ok().stdout == ""
    assert runtime.status(bundle) == "paused"
    size = len(created.stdout)
    time.sleep(0.1)
    assert len(created.stdout) == size, "it runs on"
    assert runtime("resume", bundle.id).ok().stdout == ""
    assert runtime.status(bundle) == "running"
    until(lambda: len(created.stdout) > size, "it runs again")


def test_kill_of_a_paused_container_works_at_once(runtime, running):
    runtime("pause", running.id).ok()
    runtime.kill(running, "KILL").ok()
    runtime.until_status(running, "stopped")
    runtime.delete(running).ok()


def test_other_signals_wait_for_resume(runtime, bundle):
    created = runtime.launch(
        bundle, "sh", "-c", "trap 'echo got; exit' TERM; echo ready; while :; do sleep 0.01; done"
    )
    until(lambda: created.stdout == "ready\n", "the trap is set")
    runtime("pause", bundle.id).ok()
    runtime.kill(bundle, "TERM").ok()
    assert runtime.status(bundle) == "paused"
    runtime("resume", bundle.id).ok()
    runtime.until_status(bundle, "stopped")
    assert created.stdout == "ready\ngot\n"
