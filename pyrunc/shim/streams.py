"""The streams of one process of the container: pipes or a terminal, from before it is made until it is gone.

streams = ProcessStreams(loop, console_path, terminal=False, open_stdin=True, deliver=hub.deliver)
door.create(options, id, streams.given, done)      # what the process gets
streams.begin()                                    # in done: ours alone from here on, and read
streams.stdin.write(data); streams.resize(24, 80)
streams.finish(all_read)                           # the process has ended: the rest, then all_read()
"""

from __future__ import annotations

import posix

from pyrunc.errors import INTERNAL, WRONG_STATE, PyruncError
from pyrunc.shim.console import ConsoleSocket, set_size
from pyrunc.shim.logs import STDOUT
from pyrunc.shim.oci_runtime import Streams
from pyrunc.shim.stdio import Source, Writer, duplicate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.shim.loop import Loop

_LAST_WORDS_SECONDS = 1.0  # a terminal's output passes through a queue in the kernel


class ProcessStreams:
    """`deliver(stream, data)` gets the output; of a terminal all is stdout. `drained()`: stdin takes more.
    `stdin` is None where the process has none, or `begin` hasn't been called."""

    def __init__(
        self,
        loop: Loop,
        console_path: str,
        *,
        terminal: bool,
        open_stdin: bool,
        deliver: Callable[[int, bytes], object],
        drained: Callable[[], object] | None = None,
    ) -> None:
        self._loop, self._deliver, self._drained = loop, deliver, drained
        self.terminal = terminal
        self.stdin: Writer | None = None
        self._console: ConsoleSocket | None = None
        self._master = -1
        self._sources: list[Source] = []
        self._ended: Callable[[], object] | None = None
        self._theirs: list[int] = []
        self._ours: dict[int, int] = {}
        if terminal:
            self._console = ConsoleSocket(loop, console_path)
            self.given = Streams(console=console_path)
            return
        for stream in (0, 1, 2) if open_stdin else (1, 2):
            reading, writing = posix.pipe2(posix.O_CLOEXEC)
            self._ours[stream] = writing if stream == 0 else reading
            self._theirs.append(reading if stream == 0 else writing)
        stdin = self._theirs[0] if open_stdin else -1
        stdout, stderr = self._theirs[-2:]
        self.given = Streams(stdin=stdin, stdout=stdout, stderr=stderr)

    def begin(self) -> None:
        """The process is there. Raises PyruncError where its terminal isn't."""
        self._close_theirs()
        if self._console is not None:
            self._master = self._console.take()
            self._console.close()
            self._console = None
            if self._master < 0:
                raise PyruncError(INTERNAL, "the runtime did not set up the terminal")
            self._ours = {0: duplicate(self._master), STDOUT: duplicate(self._master)}
        if 0 in self._ours:
            self.stdin = Writer(self._loop, self._ours.pop(0), drained=self._drained)
        for stream, fd in self._ours.items():
            self._sources.append(Source(self._loop, fd, self._take(stream), self._end))
        self._ours = {}

    def resize(self, rows: int, columns: int) -> None:
        """Raises PyruncError where there is no terminal."""
        if self._master < 0:
            raise PyruncError(WRONG_STATE, "the process has no terminal, or has ended")
        set_size(self._master, rows=rows, columns=columns)

    def close_stdin(self) -> None:
        """The process reads to the end, once it has taken what waits. A terminal stays open."""
        if self.stdin is not None and not self.terminal:
            self.stdin.end()

    def pause_output(self) -> None:
        """Read no more of it for now: the process waits when it has filled a pipe. Not of one that has ended,
        for that is little, and would be lost."""
        if self._ended is not None:
            return
        for source in self._sources:
            source.pause()

    def resume_output(self) -> None:
        for source in self._sources:
            source.resume()

    def finish(self, ended: Callable[[], object]) -> None:
        """Deliver what the process said before its end, then call `ended`. What others still hold open does
        not count: a pipe has it all by now, a terminal gets a second."""
        self._ended = ended
        if not self.terminal:
            for source in self._sources:
                source.drain()
            self._cut()
        elif all(source.fd < 0 for source in self._sources):
            self._cut()
        else:
            self.resume_output()
            self._loop.after(_LAST_WORDS_SECONDS, self._cut)

    def close(self) -> None:
        """At once: nothing was made, or nobody wants to know."""
        self._close_theirs()
        for fd in self._ours.values():
            posix.close(fd)
        self._ours = {}
        for source in self._sources:
            source.close()
        if self.stdin is not None:
            self.stdin.close()
            self.stdin = None
        if self._console is not None:
            self._console.close()
            self._console = None
        if self._master >= 0:
            posix.close(self._master)
            self._master = -1

    def _close_theirs(self) -> None:
        for fd in self._theirs:
            posix.close(fd)
        self._theirs = []

    def _take(self, stream: int) -> Callable[[bytes], object]:
        return lambda data: self._deliver(stream, data)

    def _end(self) -> None:
        if self._ended is not None and self.terminal:
            self._cut()

    def _cut(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            self.close()
            ended()
