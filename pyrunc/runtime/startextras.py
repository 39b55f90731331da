"""What `start` does for few containers: startContainer and poststart hooks.

The startContainer hooks are run here, by an exec into the container, and not by its init: the stub waits in
there, no interpreter. They find what the init's own children would: its namespaces, its root, the user, the
capabilities and the seccomp program of the process; only their parent is not process 1.
"""

from __future__ import annotations

import posix

from pyrunc.errors import INTERNAL, INVALID, PyruncError
from pyrunc.kernel import spawn as programs
from pyrunc.linux.apply import apply
from pyrunc.linux.facts import probe
from pyrunc.linux.hooks import describe_failure, run_hooks
from pyrunc.oci.config import Config, Hook, Process, parse_config
from pyrunc.record import replaced
from pyrunc.runtime import spawn, store
from pyrunc.runtime.delete import ending
from pyrunc.runtime.exec import open_inside, plan_inside
from pyrunc.runtime.lifecycle import CREATED, RUNNING
from pyrunc.runtime.state import hook_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.waiting import Work


def before(state_root: str, state: store.State) -> Work[None]:
    """The startContainer hooks; one that fails ends the container (runtime.md, Lifecycle, 7)."""
    config = parse_config(store.read_config(state_root, state.id))
    if not config.hooks.start_container:
        return
    if config.process is None:
        raise PyruncError(INVALID, "process property must not be empty", "/process")
    try:
        for number, hook in enumerate(config.hooks.start_container):
            yield from _run_inside(state, config, config.process, hook, number)
    except PyruncError:
        yield from ending(state)
        raise


def _run_inside(state: store.State, config: Config, process: Process, hook: Hook, number: int) -> Work[None]:
    changed = replaced(
        process,
        args=hook.args or (hook.path,),
        env=process.env if hook.env is None else hook.env,
        terminal=False,
        rlimits=(),
        oom_score_adj=None,
        exec_cpu_affinity=None,
    )
    launch = plan_inside(state, config, changed, probe(), program=hook.path)
    init = posix.pidfd_open(state.pid)
    host = open_inside(state, init, launch)
    posix.close(init)
    stdin, to_stdin = posix.pipe2(posix.O_CLOEXEC)
    from_stdout, stdout = posix.pipe2(posix.O_CLOEXEC)
    from_stderr, stderr = posix.pipe2(posix.O_CLOEXEC)
    host.saved |= {"stdio/0": stdin, "stdio/1": stdout, "stdio/2": stderr}
    try:
        for op in launch.prepare:
            apply(op, host)
        born = spawn.clone(launch, host)
        try:
            host.pid, host.pidfd = born.pid, born.pidfd
            yield from spawn.attend(born, host)
            yield from spawn.await_exec(born)
            text = hook_text(state, CREATED, is_inside=True)
            outcome = yield from programs.attend(
                born.pid, born.pidfd, to_stdin, from_stdout, from_stderr, text, hook.timeout_seconds
            )
        except PyruncError as error:
            born.kill()
            where = f"/hooks/startContainer/{number}"
            what = f"error running startContainer hook #{number}"
            raise PyruncError(INTERNAL, what, where, str(error)) from error
        except GeneratorExit:
            born.kill()
            raise
        finally:
            born.close()
        if outcome.status or outcome.timed_out:
            raise describe_failure("startContainer", number, outcome, hook.timeout_seconds)
    finally:
        host.close()
        posix.close(from_stdout)
        posix.close(from_stderr)


def after(state_root: str, state: store.State) -> Work[None]:
    """The poststart hooks; since spec 1.3 one that fails is an error, and ends the container."""
    config = parse_config(store.read_config(state_root, state.id))
    try:
        text = hook_text(state, RUNNING)
        yield from run_hooks("poststart", config.hooks.poststart, text, state.bundle)
    except PyruncError:
        yield from ending(state)
        raise
