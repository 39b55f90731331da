"""systemd as the maker of cgroups: transient units, asked for over D-Bus.

The bus is the usual one, or systemd's own socket where no bus runs. Imported by those alone who have it make
their cgroups, before they touch anything: what is imported here is dear.
"""

from __future__ import annotations

import os
import socket
import time
from errno import ECONNRESET

from pyrunc.errors import INTERNAL, INVALID, UNSUPPORTED, PyruncError, describe_errno
from pyrunc.linux.cgroups.files import read_if_there
from pyrunc.plan.facts import SystemdFacts
from pyrunc.thirdparty import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyrunc.plan.rareops import SetUnitProperties, StartUnit

_jeepney: Any = load("jeepney", "the systemd cgroup manager")

_TIMEOUT_SECONDS = 30.0
_LONGEST_LINE = 4096
_BUS, _BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
_SYSTEMD, _SYSTEMD_PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
_MANAGER = f"{_SYSTEMD}.Manager"
_SYSTEM_BUS, _SYSTEM_PRIVATE = "/run/dbus/system_bus_socket", "/run/systemd/private"
_NO_HOST_HINT = "is systemd this host's init? the manager cgroupfs does without"
_NO_USER_HINT = (
    "is there a session of this user (loginctl enable-linger), and is DBUS_SESSION_BUS_ADDRESS or "
    "XDG_RUNTIME_DIR set?"
)
_UNIT_EXISTS, _NO_SUCH_UNIT = f"{_SYSTEMD}.UnitExists", f"{_SYSTEMD}.NoSuchUnit"
_REFUSED_INPUT = (f"{_BUS}.Error.InvalidArgs", f"{_BUS}.Error.PropertyReadOnly")
_START = ("StartTransientUnit", "ssa(sv)a(sa(sv))")


class _Refused(Exception):
    """The other side answered with an error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name, self.text = name, text


# --- what is asked for ----------------------------------------------------------------------------


def probe(*, is_user: bool, weighs_io: bool = False) -> SystemdFacts:
    """`weighs_io`: the disks are to be asked for their schedulers. Raises PyruncError UNSUPPORTED where there
    is no systemd, or none that we can reach."""
    with _Connection(is_user, "ask systemd who it is") as bus:
        version, group = bus.get("Version"), bus.get("ControlGroup")
    return SystemdFacts(
        version=parse_version(version),
        control_group=group,
        is_user=is_user,
        has_bfq=weighs_io and _has_bfq(),
    )


def _has_bfq() -> bool:
    """Every disk lists all schedulers that it could have (Documentation/block/switching-sched.rst)."""
    names = os.listdir("/sys/block") if os.path.isdir("/sys/block") else []
    return any("bfq" in (read_if_there(f"/sys/block/{name}/queue/scheduler") or "") for name in names)


def parse_version(text: str) -> int:
    """The first number of "252.5-2~deb12", "v245", "systemd 239"; 0 for none."""
    digits = ""
    for letter in text:
        if letter.isdigit():
            digits += letter
        elif digits:
            break
    return int(digits or "0")


def start_unit(op: StartUnit, pid: int) -> None:
    """A unit of that name which failed is remembered by systemd, and in the way: it is forgotten, once."""
    body: tuple[object, ...] = (op.unit, "replace", _variants((*op.properties, ("PIDs", "au", (pid,)))), [])
    with _Connection(op.is_user, op.describe(), op.origin) as bus:
        try:
            result = bus.run_job(*_START, body)
        except _Refused as error:
            if error.name != _UNIT_EXISTS:
                raise
            bus.forget(op.unit)
            result = bus.run_job(*_START, body)
        if result != "done":
            bus.forget(op.unit)
            raise PyruncError(INTERNAL, op.describe(), op.origin, f"systemd says: {result}")


def set_properties(op: SetUnitProperties) -> None:
    """For as long as the unit is there (`runtime`): it is none that comes again."""
    with _Connection(op.is_user, op.describe(), op.origin) as bus:
        bus.call("SetUnitProperties", "sba(sv)", (op.unit, True, _variants(op.properties)))


def stop_unit(unit: str, *, is_user: bool) -> None:
    """One that is gone is what was wanted: systemd drops a scope when its last process ends."""
    with _Connection(is_user, f"stop systemd unit {unit}") as bus:
        try:
            bus.run_job("StopUnit", "ss", (unit, "replace"))
        except _Refused as error:
            if error.name != _NO_SUCH_UNIT:
                raise
        bus.forget(unit)


def _variants(properties: Iterable[tuple[str, str, object]]) -> list[tuple[str, tuple[str, object]]]:
    """jeepney wants lists for arrays, tuples for structs, and bytes for an array of those."""
    return [
        (name, (signature, list(value) if isinstance(value, tuple) else value))
        for name, signature, value in properties
    ]


# --- the bus --------------------------------------------------------------------------------------


class _Connection:
    """To a manager of systemd, for one purpose (`what`, `where`: for errors), which takes 30 seconds at most.
    Signals that arrive before the answer are kept."""

    def __init__(self, is_user: bool, what: str, where: str = "") -> None:
        self._what, self._where = what, where
        self._deadline = time.monotonic() + _TIMEOUT_SECONDS
        self._serial = 0
        self._is_subscribed = False
        self._parser = _jeepney.Parser()
        self._ended_jobs: dict[str, str] = {}
        self._socket, self._is_bus = _connect(is_user)

    def __enter__(self) -> _Connection:
        try:
            self._authenticate()
            if self._is_bus:
                self._ask_bus("Hello")
        except (_Refused, OSError) as error:
            self.__exit__(None, error, None)
            raise
        return self

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        self._socket.close()
        if isinstance(error, _Refused):
            kind = INVALID if error.name in _REFUSED_INPUT else INTERNAL
            why = f"{error.text} ({error.name})"
            raise PyruncError(kind, self._what, self._where, why) from error
        if isinstance(error, TimeoutError):
            why = f"no answer in {_TIMEOUT_SECONDS:.0f} seconds"
            raise PyruncError(INTERNAL, self._what, self._where, why) from error
        if isinstance(error, OSError):
            raise PyruncError.from_errno(error.errno or 0, self._what, self._where) from error

    def _authenticate(self) -> None:
        """By the credentials of the socket. Who we are is not said: in a user namespace we may not know by
        which number the other side calls us."""
        self._socket.sendall(b"\0AUTH EXTERNAL\r\n")
        for answer, then in ((b"DATA", b"DATA\r\n"), (b"OK", b"BEGIN\r\n")):
            line = self._read_line()
            if not line.startswith(answer):
                raise _Refused("AUTH EXTERNAL", line.decode(errors="replace").strip())
            self._socket.sendall(then)

    def _read_line(self) -> bytes:
        """Byte by byte: what follows the line is the parser's."""
        line = b""
        while not line.endswith(b"\r\n"):
            line += self._receive_bytes(1)
            if len(line) > _LONGEST_LINE:
                raise _Refused("AUTH EXTERNAL", "an endless line")
        return line

    def _receive_bytes(self, most: int) -> bytes:
        self._socket.settimeout(max(self._deadline - time.monotonic(), 0.001))
        data = self._socket.recv(most)
        if not data:
            raise ConnectionResetError(ECONNRESET, os.strerror(ECONNRESET))
        return data

    def _receive(self) -> Any:
        """The next message."""
        message = self._parser.get_next_message()
        while message is None:
            self._parser.add_data(self._receive_bytes(65536))
            message = self._parser.get_next_message()
        if message.header.fields.get(_jeepney.HeaderFields.member) == "JobRemoved":
            _, job, _, result = message.body
            self._ended_jobs[job] = result
        return message

    def _ask(self, address: Any, method: str, signature: str, body: tuple[object, ...]) -> Any:
        """The answer's body. Raises _Refused."""
        self._serial += 1
        message = _jeepney.new_method_call(address, method, signature or None, body)
        if not self._is_bus:  # nobody passes it on
            del message.header.fields[_jeepney.HeaderFields.destination]
        self._socket.sendall(message.serialise(serial=self._serial))
        fields: dict[Any, Any] = {}
        while fields.get(_jeepney.HeaderFields.reply_serial) != self._serial:
            answer = self._receive()
            fields = answer.header.fields
        if answer.header.message_type == _jeepney.MessageType.error:
            text = str(answer.body[0]) if answer.body else ""
            raise _Refused(fields[_jeepney.HeaderFields.error_name], text)
        return answer.body

    def _ask_bus(self, method: str, signature: str = "", *body: object) -> None:
        self._ask(_jeepney.DBusAddress(_BUS_PATH, _BUS, _BUS), method, signature, body)

    def _ask_systemd(
        self, interface: str, method: str, signature: str = "", body: tuple[object, ...] = ()
    ) -> Any:
        address = _jeepney.DBusAddress(_SYSTEMD_PATH, _SYSTEMD, interface)
        return self._ask(address, method, signature, body)

    def call(self, method: str, signature: str = "", body: tuple[object, ...] = ()) -> Any:
        """A method of the manager; its answer's body. Raises _Refused."""
        return self._ask_systemd(_MANAGER, method, signature, body)

    def get(self, name: str) -> str:
        """A property of the manager."""
        ((_, value),) = self._ask_systemd(f"{_BUS}.Properties", "Get", "ss", (_MANAGER, name))
        return str(value)

    def forget(self, unit: str) -> None:
        """That it failed. One that didn't, or isn't known, is forgotten already."""
        try:
            self.call("ResetFailedUnit", "s", (unit,))
        except _Refused as error:
            if error.name != _NO_SUCH_UNIT:
                raise

    def _subscribe(self) -> None:
        """To the ends of jobs, for as long as we are connected."""
        if self._is_bus:
            rule = f"type='signal',sender='{_SYSTEMD}',interface='{_MANAGER}',member='JobRemoved'"
            self._ask_bus("AddMatch", "s", rule)
        self.call("Subscribe")
        self._is_subscribed = True

    def run_job(self, method: str, signature: str, body: tuple[object, ...]) -> str:
        """Until it is over: "done", or how it failed. Raises _Refused where there is none."""
        if not self._is_subscribed:
            self._subscribe()
        (job,) = self.call(method, signature, body)
        while job not in self._ended_jobs:
            self._receive()
        return self._ended_jobs[job]


def _connect(is_user: bool) -> tuple[socket.socket, bool]:
    """The socket, and whether it is a bus."""
    why = "there is no address of a bus"
    for path, is_bus in _addresses(is_user):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            why = f"{path}: {describe_errno(error.errno or 0)}"
            continue
        return connection, is_bus
    what = f"cannot reach systemd{' of this user' if is_user else ''}, which is to make the cgroup"
    raise PyruncError(UNSUPPORTED, what, "", why, _NO_USER_HINT if is_user else _NO_HOST_HINT)


def _addresses(is_user: bool) -> list[tuple[str, bool]]:
    """(socket, is it a bus: else it is systemd's own)"""
    if not is_user:
        given = parse_address(os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", ""))
        return [(given or _SYSTEM_BUS, True), (_SYSTEM_PRIVATE, False)]
    given = parse_address(os.environ.get("DBUS_SESSION_BUS_ADDRESS", ""))
    found = [(given, True)] if given else []
    directory = os.environ.get("XDG_RUNTIME_DIR", "")
    if directory:
        found += [(f"{directory}/bus", True), (f"{directory}/systemd/private", False)]
    return found


def parse_address(text: str) -> str:
    """The first unix socket of `unix:path=…;…` (D-Bus specification, "Server Addresses"), a NUL before the
    name of an abstract one; "" for none."""
    for address in text.split(";"):
        transport, _, rest = address.partition(":")
        keys = dict(part.partition("=")[::2] for part in rest.split(","))
        if transport == "unix" and "path" in keys:
            return _unescaped(keys["path"])
        if transport == "unix" and "abstract" in keys:
            return "\0" + _unescaped(keys["abstract"])
    return ""


def _unescaped(text: str) -> str:
    first, *parts = text.encode().split(b"%")
    return os.fsdecode(first + b"".join(bytes.fromhex(part[:2].decode()) + part[2:] for part in parts))
