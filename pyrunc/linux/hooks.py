"""Run hooks in the runtime's namespaces: the state on their stdin, the bundle as their directory."""

from __future__ import annotations

from pyrunc.errors import INTERNAL, PyruncError, describe_errno
from pyrunc.kernel.signals import describe_signal
from pyrunc.kernel.spawn import Outcome, run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan.ops import Hook
    from pyrunc.waiting import Work


def hook_environment(hook: Hook) -> dict[bytes, bytes] | None:
    """None: our own, as runc and crun give it when the config is silent."""
    if hook.env is None:
        return None
    found = {}
    for entry in hook.env:
        name, _, value = entry.encode("utf-8", "surrogateescape").partition(b"=")
        found[name] = value
    return found


def describe_failure(kind: str, number: int, outcome: Outcome, timeout_seconds: float | None) -> PyruncError:
    """The sentence of runc, with what the hook said: often the only trace of why."""
    what = f"error running {kind} hook #{number}"
    where = f"/hooks/{kind}/{number}"
    if outcome.timed_out:
        return PyruncError(INTERNAL, what, where, f"hook ran past specified timeout of {timeout_seconds}s")
    reason = (
        f"exit status {outcome.status}"
        if outcome.status >= 0
        else f"signal: {describe_signal(-outcome.status)}"
    )
    said = ", ".join(
        f"{name}: {text.decode('utf-8', 'backslashreplace').strip()}"
        for name, text in (("stdout", outcome.output), ("stderr", outcome.errors))
    )
    return PyruncError(INTERNAL, what, where, f"{reason}, {said}")


def run_hooks(kind: str, hooks: tuple[Hook, ...], state: bytes, bundle: str) -> Work[None]:
    """In order; the first that fails ends the list. Raises PyruncError."""
    for number, hook in enumerate(hooks):
        try:
            outcome = yield from run_program(
                hook.path,
                hook.args or (hook.path,),
                hook_environment(hook),
                state,
                hook.timeout_seconds,
                bundle,
            )
        except OSError as error:
            raise PyruncError(
                INTERNAL,
                f"error running {kind} hook #{number}",
                f"/hooks/{kind}/{number}",
                f"{hook.path}: {describe_errno(error.errno or 0)}",
            ) from error
        if outcome.status or outcome.timed_out:
            raise describe_failure(kind, number, outcome, hook.timeout_seconds)
