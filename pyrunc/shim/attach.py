"""Clients at a process: each gets its output, and may write to its input.

A client is one duplex stream. What it doesn't read waits in the kernel, and then here. When that is more than
a MiB the process is held up, as it would be by a pipe that nobody empties. For whom it runs (`keeps_all`: the
client that has started it, of an exec always) that lasts as long as it takes, so that not a byte is lost
between a container and a slow `| less`. A client that came later doesn't own the process: if it takes
nothing at all for ten seconds it is dropped, and the process, its log and all other clients go on. Who is
slow, but goes on reading, loses nothing. The other way round a client waits: it is read no further while the
process doesn't take its input.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.record import Record
from pyrunc.shim.logs import STDOUT
from pyrunc.shim.stdio import Source, Writer, duplicate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.shim.loop import Loop, Timer
    from pyrunc.shim.streams import ProcessStreams

WAITING_BYTES = 1 << 20
PATIENCE_SECONDS = 10.0
_LIMIT_BYTES = 4 << 20  # what comes while the process is held up: pipes are not large
_INPUT_BYTES = 64 << 10  # of input that waits for the process before clients are read no further
_CONTROLS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class Wishes(Record):
    """What a client wants. `detach_keys`: the bytes that let it go; none: nothing does. `keeps_all`: rather
    than lose some output it holds the process up for good."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    multiplexed: bool = False
    detach_keys: bytes = b""
    keeps_all: bool = False


def parse_detach_keys(text: str) -> bytes:
    """Docker's way: "ctrl-p,ctrl-q", "ctrl-@", "a,b". Raises PyruncError INVALID."""
    found = bytearray()
    for word in text.split(",") if text else ():
        key = word.removeprefix("ctrl-")
        if key == word and len(word) == 1 and word.isascii():
            found.append(ord(word))
        elif key != word and len(key) == 1 and key in _CONTROLS:
            found.append(_CONTROLS[key])
        elif key != word and len(key) == 1 and "a" <= key <= "z":
            found.append(ord(key) - ord("a") + 1)
        else:
            raise PyruncError(INVALID, "invalid detach keys", text, f"{word!r} is no key", "such as ctrl-p,x")
    return bytes(found)


class KeyScanner:
    """Finds the keys in what a client types. Those that may be the beginning of them are held back until the
    next says whether they are."""

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: bytes) -> None:
        self._keys, self._held = keys, 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what is to be passed on, all of them were there)"""
        keys = self._keys
        if not keys:
            return data, False
        passed = bytearray()
        for byte in data:
            while self._held and byte != keys[self._held]:
                # What was held is no beginning any more; a shorter end of it may be.
                typed = keys[: self._held]
                shorter = next(n for n in range(self._held - 1, -1, -1) if typed.endswith(keys[:n]))
                passed += typed[: self._held - shorter]
                self._held = shorter
            if byte == keys[self._held]:
                self._held += 1
                if self._held == len(keys):
                    self._held = 0
                    return bytes(passed), True
            else:
                passed.append(byte)
        return bytes(passed), False


class Client:
    """One stream. `input` is None for who only listens: then it is read for its end alone."""

    __slots__ = ("input", "output", "scanner", "wishes")

    def __init__(self, wishes: Wishes, output: Writer) -> None:
        self.wishes, self.output = wishes, output
        self.input: Source | None = None
        self.scanner = KeyScanner(wishes.detach_keys)


class Hub:
    """The clients of one process. `told(event)`: "attach", "detach", "dropped". `stdin_once`: the end of the
    first client's input is that of the process's."""

    def __init__(self, loop: Loop, *, stdin_once: bool, told: Callable[[str], object]) -> None:
        self._loop, self._stdin_once, self._told = loop, stdin_once, told
        self._clients: list[Client] = []
        self._leaving: list[Writer] = []
        self._left: Callable[[], object] | None = None
        self._streams: ProcessStreams | None = None
        self._patience: Timer | None = None

    @property
    def is_busy(self) -> bool:
        """Some clients of a process that has ended have yet to take its last words."""
        self._leaving = [writer for writer in self._leaving if writer.fd >= 0]
        return bool(self._leaving)

    def when_idle(self, left: Callable[[], object]) -> None:
        """`left()` each time that a client has taken the last words, or gone."""
        self._left = left

    def serve(self, streams: ProcessStreams) -> None:
        """From here on input goes there; clients that came before are read from now on."""
        self._streams = streams
        self.continue_input()

    def add(self, fd: int, wishes: Wishes) -> None:
        """`fd`, a duplex stream, is ours from here on."""
        output = Writer(
            self._loop,
            duplicate(fd),
            limit_bytes=_LIMIT_BYTES,
            broken=lambda: self._drop(client),
            drained=self._note_drained,
        )
        client = Client(wishes, output)
        client.input = Source(
            self._loop, fd, lambda data: self._type(client, data), lambda: self._end_input(client)
        )
        if self._streams is None and wishes.stdin:
            client.input.pause()
        self._clients.append(client)
        self._told("attach")

    def deliver(self, stream: int, data: bytes) -> None:
        """Output of the process, to all who want it."""
        for client in list(self._clients):
            wishes = client.wishes
            if wishes.stdout if stream == STDOUT else wishes.stderr:
                if wishes.multiplexed:
                    client.output.write(bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data)
                else:
                    client.output.write(data)
        if any(item.output.pending > WAITING_BYTES for item in self._clients):
            self._hold_up()

    def _hold_up(self) -> None:
        if self._streams is not None:
            self._streams.pause_output()
        if self._patience is None:
            self._await_progress()

    def _await_progress(self) -> None:
        """Of those who may not hold the process up for good."""
        taken = {
            client: client.output.taken_bytes
            for client in self._clients
            if client.output.pending > WAITING_BYTES and not client.wishes.keeps_all
        }

        def judge() -> None:
            self._patience = None
            for client, before in taken.items():
                if client.output.taken_bytes == before:
                    self._drop(client)
            self._let_go_on()

        if taken:
            self._patience = self._loop.after(PATIENCE_SECONDS, judge)

    def _note_drained(self) -> None:
        self._let_go_on()
        if self._left is not None:
            self._left()

    def _let_go_on(self) -> None:
        if any(client.output.pending > WAITING_BYTES for client in self._clients):
            if self._patience is None:
                self._await_progress()
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._streams is not None:
            self._streams.resume_output()

    def continue_input(self) -> None:
        """The process takes input again."""
        for client in self._clients:
            if client.input is not None:
                client.input.resume()

    def end(self) -> None:
        """The process has ended: clients get what waits for them, and then the end."""
        self._streams = None
        for client in self._clients:
            if client.input is not None:
                client.input.close()
            client.output.end()
            self._leaving.append(client.output)
        self._clients = []

    def _type(self, client: Client, data: bytes) -> None:
        if not client.wishes.stdin:
            return
        passed, detached = client.scanner.feed(data)
        stdin = self._streams.stdin if self._streams is not None else None
        if stdin is not None and passed:
            stdin.write(passed)
            if stdin.pending > _INPUT_BYTES:
                for other in self._clients:
                    if other.input is not None and other.wishes.stdin:
                        other.input.pause()
        if detached:
            self._drop(client, "detach")

    def _end_input(self, client: Client) -> None:
        """The client writes no more. It may still listen."""
        client.input = None
        if client.wishes.stdin and self._stdin_once and self._streams is not None:
            self._streams.close_stdin()

    def _drop(self, client: Client, why: str = "dropped") -> None:
        if client not in self._clients:
            self._note_drained()
            return
        self._clients.remove(client)
        if client.input is not None:
            client.input.close()
        client.output.close()
        self._told(why)
        self._let_go_on()
