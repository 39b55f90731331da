"""createContainer hooks, which the child runs. Few containers have one."""

from __future__ import annotations

import posix

from pyrunc.child import channel
from pyrunc.child.context import Child
from pyrunc.kernel import fds, spawn
from pyrunc.plan import ops
from pyrunc.waiting import finish


def run_hooks(op: ops.RunHooks, child: Child) -> None:
    """createContainer hooks: our namespaces, but names are the host's still, for we have not pivoted. The
    state came with the last sync point."""
    for number, hook in enumerate(op.hooks):
        env = None if hook.env is None else dict(_split(entry) for entry in hook.env)
        outcome = finish(
            spawn.run_program(hook.path, hook.args or (hook.path,), env, child.payload, hook.timeout_seconds)
        )
        if outcome.status or outcome.timed_out:
            words = (outcome.errors or outcome.output).strip()[-2000:]
            fds.send(
                child.channel, channel.encode_hook_failure(number, outcome.status, outcome.timed_out, words)
            )
            posix._exit(1)


def _split(entry: str) -> tuple[bytes, bytes]:
    name, _, value = entry.encode("utf-8", "surrogateescape").partition(b"=")
    return name, value


STEPS = {"RunHooks": run_hooks}
