"""Docker Engine with other settings than its defaults, each with a daemon of its own."""

import json
from pathlib import Path

from support import dockerd
from support.caller import own_machine, subordinate_ids

IMAGE = "busybox-test"
RUN = ("run", "--network", "none", "--runtime", "pyrunc")


def settings(runtime_command, **more):
    return {"runtimes": {"pyrunc": {"path": runtime_command, "runtimeArgs": ["--debug"]}}, **more}


def test_root_inside_is_somebody_else_outside(docker_state, runtime_command):
    """The daemon maps root to a user without rights, and makes its directories that user's."""
    remapped = settings(runtime_command, **{"userns-remap": "daemon:daemon"})
    with (
        own_machine(*subordinate_ids(docker_state, "daemon")) as machine,
        dockerd.dockerd(machine, docker_state / "remapped", remapped) as docker,
    ):
        docker.ok("import", docker_state / "busybox.tar", IMAGE)
        docker.ok(*RUN, "--detach", "--name", "box", IMAGE, "sleep", "1000")
        script = "cat /proc/self/uid_map; touch /file; stat -c %u /file; id -u"
        text = docker.ok("exec", "box", "sh", "-c", script)
        assert text.split() == ["0", "1000000", "131072", "0", "0"]
        pid = docker.ok("inspect", "--format", "{{.State.Pid}}", "box").strip()
        assert Path(f"/proc/{pid}").stat().st_uid == 1000000
        docker.ok("rm", "--force", "box")


def test_containers_outlive_the_daemon(docker_state, runtime_command):
    """The shims hold them meanwhile; the next daemon asks the runtime for them."""
    live = settings(runtime_command, **{"live-restore": True})
    with own_machine() as machine:
        with dockerd.dockerd(machine, docker_state / "live", live) as docker:
            docker.ok("import", docker_state / "busybox.tar", IMAGE)
            docker.ok(*RUN, "--detach", "--name", "box", IMAGE, "sleep", "1000")
            before = json.loads(docker.ok("inspect", "box"))[0]["State"]
        with dockerd.dockerd(machine, docker_state / "live", live) as docker:
            after = json.loads(docker.ok("inspect", "box"))[0]["State"]
            assert (after["Pid"], after["StartedAt"]) == (before["Pid"], before["StartedAt"])
            docker.ok("exec", "box", "true")
            docker.ok("stop", "--time", "0", "box")
            docker.ok("rm", "box")
