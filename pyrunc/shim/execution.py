"""One more process in the container: for a client of the shim, or a health check."""

from __future__ import annotations

from pyrunc.errors import PyruncError
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.shim.loop import Loop
    from pyrunc.shim.oci_runtime import Door, Outcome, Streams
    from pyrunc.shim.reaper import Child, Reaper
    from pyrunc.shim.streams import ProcessStreams


class Tools(Record):
    """What everything in a shim works with. `directory`: the shim's own."""

    loop: Loop
    reaper: Reaper
    door: Door
    directory: str


class Execution:
    """`begun(error)` when it runs, or can't; then `ended(exit_code)`, after its last words. `streams`: those
    that we hold the other end of; `given`: what the process gets where these are somebody else's."""

    def __init__(
        self,
        tools: Tools,
        container_id: str,
        words: tuple[tuple[str, ...], tuple[str, ...]],
        *,
        streams: ProcessStreams | None,
        given: Streams,
        begun: Callable[[PyruncError | None], object],
        ended: Callable[[int], object],
    ) -> None:
        """`words`: options of the runtime's exec, and the command where they name no process file."""
        self.child: Child | None = None
        self.streams = streams
        self._tools, self._begun, self._ended = tools, begun, ended
        self._signals: list[int] = []
        options, args = words
        tools.door.exec(options, container_id, given, self._made, args)

    @property
    def pid(self) -> int:
        return self.child.pid if self.child is not None else 0

    def kill(self, number: int) -> None:
        """Also one that is on its way; one that has ended is no error."""
        if self.child is None:
            self._signals.append(number)
            return
        try:
            self.child.signal(number)
        except ProcessLookupError:
            pass

    def _made(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            if self.streams is not None:
                self.streams.close()
            self._begun(outcome.error)
            return
        self.child = self._tools.reaper.expect(outcome.pid, self._reaped)
        if self.streams is not None:
            try:
                self.streams.begin()
            except PyruncError as error:
                self.kill(9)
                self._begun(error)
                return
        for number in self._signals:
            self.kill(number)
        self._begun(None)

    def _reaped(self, child: Child) -> None:
        code = child.exit_code
        if self.streams is None:
            self._ended(code)
        else:
            self.streams.finish(lambda: self._ended(code))
