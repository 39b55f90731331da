"""poststop hooks: after all is undone, with what was read before that. Their failures are warnings."""

from __future__ import annotations

from pyrunc import log
from pyrunc.errors import PyruncError
from pyrunc.linux.hooks import run_hooks
from pyrunc.oci.config import Config, parse_config
from pyrunc.runtime import store
from pyrunc.runtime.lifecycle import STOPPED
from pyrunc.runtime.state import hook_text
from pyrunc.waiting import finish


class Poststop:
    def __init__(self, config: Config, state: store.State) -> None:
        self.config, self.state = config, state

    def run(self) -> None:
        """Each of them, whatever the others do (runtime.md, Lifecycle, 13)."""
        text = hook_text(self.state, STOPPED)
        for hook in self.config.hooks.poststop:
            try:
                finish(run_hooks("poststop", (hook,), text, self.state.bundle))
            except PyruncError as error:
                log.warning(str(error))


def load(state_root: str, state: store.State) -> Poststop:
    return Poststop(parse_config(store.read_config(state_root, state.id)), state)
