"""One verb of the runtime, and wait for it: what `delete` and `-info` need, which have no daemon."""

from __future__ import annotations

import posix

from pyrunc import __version__, jsonio
from pyrunc.errors import PyruncError
from pyrunc.shim.containerd import messages
from pyrunc.shim.containerd.options import parse_options, settings
from pyrunc.shim.loop import Loop
from pyrunc.shim.oci_runtime import Door, RuntimeSettings
from pyrunc.shim.reaper import Reaper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.shim.oci_runtime import Outcome


def ask(chosen: RuntimeSettings, words: tuple[str, ...]) -> bytes:
    """What the runtime printed. Raises the PyruncError that it ended with."""
    loop = Loop()
    outcomes: list[Outcome] = []

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        loop.stop()

    Door(loop, Reaper(loop), posix.getcwd(), chosen).call(words, done)
    loop.run()
    (outcome,) = outcomes
    if outcome.error is not None:
        raise outcome.error
    return outcome.output


def describe_runtime(name: str, wrapped: dict[str, Any] | None) -> bytes:
    """The message RuntimeInfo. A runtime that has no `features` is described without."""
    chosen = settings(parse_options(wrapped), "")
    info: dict[str, Any] = {"name": name, "version": {"version": __version__, "revision": ""}}
    info["options"] = wrapped
    try:
        output = ask(chosen, ("features",))
        jsonio.loads(output, "features")
    except PyruncError:
        pass  # runc has it since 1.1
    else:
        info["features"] = messages.wrap(messages.FEATURES_TYPE, output)
    return messages.encode(messages.RUNTIME_INFO, info)
