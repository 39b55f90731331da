"""What becomes of a verb when one of its system calls fails, for any runtime: tools/fault-table prints it.

The rules are the same for all, so they are no runtime's own: strace counts for each thread by itself, and a
fault is the nth call of a kind of any of them. Where two met it, the clean-up of the first met the second:
that is another question, and isn't counted. tests/security/test_faults.py knows more of ours.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from support import leaks
from support.bundle import PREFIX, Bundle
from support.faults import CHILDREN, NOT_OURS, Fault
from support.runtime import Done, Runtime
from support.waiting import until

VERBS = ("create", "start", "exec", "delete")
COLUMNS = ("injected", "one clear error", "unclear", "carried on", "said it had", "left behind", "hung")
_SECONDS = 15
# Of Go's scheduler and its poller, as NOT_OURS is of an interpreter
_OF_GO = frozenset({
    "clone", "epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", "nanosleep", "sched_yield", "tgkill",
})  # fmt: skip
_LINE = re.compile(r"^(\d+) +(\w+)\((.{0,8})", re.MULTILINE)
_MESSAGE = re.compile(r' write\(2, "time=')  # what failed is the saying of it
_PROGRAM = '"/bin/'  # what the container executes, and what it does then is its own affair


def census(runtime: Runtime, *arguments: object) -> Counter[str]:
    """How often a verb makes each call, at most in one thread."""
    log = runtime.work / "census.log"
    runtime(*arguments, prefix=("strace", "-D", "-f", "-qq", "-o", log)).ok()
    each: dict[str, Counter[str]] = {}
    finished = set()
    for thread, call, first in _LINE.findall(log.read_text(errors="replace")):
        if thread in finished:
            continue
        each.setdefault(thread, Counter())[call] += 1
        if call == "execve" and first.startswith(_PROGRAM):
            finished.add(thread)
    most = Counter[str]()
    for counts in each.values():
        most |= counts
    for call in NOT_OURS | _OF_GO:
        del most[call]
    return most


class Table:
    """Of one runtime: for each verb and each kind of call, how often each of COLUMNS was seen."""

    def __init__(self, command: str, work: Path, most: int) -> None:
        self._watch = leaks.Watch(work, f"{PREFIX}{os.getpid()}-")
        self.runtime = Runtime(command, work, self._watch)
        self.bundle = Bundle(work / "bundle")
        self.most = most
        self.rows: dict[str, dict[str, Counter[str]]] = {}

    def measure(self, verb: str) -> None:
        before, arguments, succeeded = self._verb(verb)
        before()
        found = census(self.runtime, *arguments)
        self._remove()
        rows = self.rows.setdefault(verb, {})
        for call, total in sorted(found.items()):
            row = rows.setdefault(call, Counter())
            for number in _spread(total, self.most):
                before()
                row.update(self._attempt(Fault(CHILDREN, call, number, "error=EIO"), arguments, succeeded))

    def _verb(self, verb: str) -> tuple[Callable[[], object], tuple[object, ...], Callable[[], bool]]:
        runtime, bundle = self.runtime, self.bundle
        name = runtime.prepare(bundle, "sleep", "1000")

        def launch() -> None:
            runtime.launch(bundle, "sleep", "1000")

        def stopped() -> None:
            launch()
            runtime.stop(bundle)

        return {
            "create": (
                lambda: None,
                ("create", "--bundle", bundle.path, name),
                lambda: runtime.status(bundle) == "created",
            ),
            "start": (
                lambda: runtime.create(bundle).ok(),
                ("start", name),
                lambda: runtime.status(bundle) == "running",
            ),
            "exec": (launch, ("exec", name, "true"), lambda: runtime.status(bundle) == "running"),
            "delete": (stopped, ("delete", name), lambda: not (runtime.root / name).exists()),
        }[verb]

    def _attempt(
        self, fault: Fault, arguments: tuple[object, ...], succeeded: Callable[[], bool]
    ) -> Iterable[str]:
        said = []
        try:
            done, injected = fault.run(self.runtime, *arguments, timeout=_SECONDS)
        except AssertionError:
            said = ["injected", "hung"]
        else:
            if len(injected) == 1 and not _MESSAGE.search(injected[0]):
                said = ["injected", _answer(str(arguments[0]), done, succeeded)]
        left = bool(said) and self._has_left(str(arguments[0]), said)
        if not self._remove() or left:
            said.append("left behind")
        return said

    def _has_left(self, verb: str, said: list[str]) -> bool:
        """Before anybody has cleaned up."""
        if verb == "create" and said[1] in ("one clear error", "unclear"):
            return not self._is_clean()
        if verb == "exec":
            procs = next(path / "cgroup.procs" for path in leaks.cgroups(self.bundle.id))
            try:
                until(lambda: self._is_alone(procs), "only the init is left", 3)
            except AssertionError:
                return True
        return False

    def _is_alone(self, procs: Path) -> bool:
        leaks.reap_orphans(self._watch.children)
        return len(procs.read_text().split()) <= 1

    def _is_clean(self) -> bool:
        try:
            self.runtime.require_clean()
        except (AssertionError, OSError):
            return False
        return True

    def _remove(self) -> bool:
        """`delete --force`, as a caller would. False: that was not enough, and we did the rest."""
        try:
            self.runtime._delete_and_reap(self.bundle.id)
            clean = self._is_clean()
        except AssertionError:
            clean = False
        leaks.kill_orphans(self._watch.children)
        for path in reversed(leaks.cgroups(self.bundle.id)):
            path.rmdir()
        shutil.rmtree(self.runtime.root, ignore_errors=True)
        return clean


def _answer(verb: str, done: Done, succeeded: Callable[[], bool]) -> str:
    if done.returncode == 0:
        try:
            return "carried on" if succeeded() else "said it had"
        except AssertionError:
            return "said it had"
    lines = done.complaints
    is_clear = (
        len(lines) == 1
        and done.returncode == (255 if verb == "exec" else 1)
        and "internal error" not in lines[0]
        and re.search(r"level=error msg=\".+: .*input/output error", lines[0], re.IGNORECASE)
    )
    return "one clear error" if is_clear else "unclear"


def _spread(total: int, most: int) -> list[int]:
    """The first, the last, and what lies between: all of 1 to `total`, or so many of them."""
    if not most or total <= most:
        return list(range(1, total + 1))
    return sorted({1 + round(n * (total - 1) / max(most - 1, 1)) for n in range(most)})


def measure(command: str, most: int) -> Table:
    """Raises AssertionError when the runtime can't do even what no fault is in."""
    work = Path(tempfile.mkdtemp(prefix=PREFIX))
    work.chmod(0o755)
    try:
        table = Table(command, work, most)
        for verb in VERBS:
            table.measure(verb)
        return table
    finally:
        shutil.rmtree(work)


def render(tables: dict[str, Table]) -> str:
    """Sums by verb, then each kind of call with something to say."""
    lines = [f"| verb | runtime | {' | '.join(COLUMNS)} |", "|---|---|" + "---|" * len(COLUMNS)]
    for verb in VERBS:
        for name, table in tables.items():
            total = sum(table.rows[verb].values(), Counter[str]())
            lines.append(_row(verb, name, total))
    for name, table in tables.items():
        total = sum((row for verb in VERBS for row in table.rows[verb].values()), Counter[str]())
        lines.append(_row("all", name, total))
    lines += ["", f"| call | runtime | {' | '.join(COLUMNS)} |", "|---|---|" + "---|" * len(COLUMNS)]
    calls = sorted({call for table in tables.values() for verb in VERBS for call in table.rows[verb]})
    for call in calls:
        for name, table in tables.items():
            total = sum((table.rows[verb].get(call, Counter()) for verb in VERBS), Counter[str]())
            if total:
                lines.append(_row(call, name, total))
    return "\n".join(lines) + "\n"


def _row(first: str, name: str, counts: Counter[str]) -> str:
    return f"| {first} | {name} | {' | '.join(str(counts[column]) for column in COLUMNS)} |"
