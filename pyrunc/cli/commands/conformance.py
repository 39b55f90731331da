"""pyrunc conformance: the suite that holds runtimes, images and registries against OCI's specifications.

The suite isn't part of us, since it is for any runtime: a program of its own, which needs pytest, and so the
interpreter's site packages, which we shut out. `os` keeps this module out of the launcher.
"""

from __future__ import annotations

import os
import sys

from pyrunc.cli.main import Settings
from pyrunc.errors import NOT_FOUND, PyruncError, doing
from pyrunc.options import TEXT, TEXTS, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

FORMATS = ("text", "tap", "junit", "html", "json")

COMMAND = Command(
    name="conformance",
    summary="Hold runtimes, images or registries against the specifications.",
    description="One kind at a time, and as many of it as you like. Needs root for runtimes, and pytest.",
    flags=(
        Flag(name="runtime", kind=TEXTS, placeholder="PATH", summary="A runtime with runc's command line."),
        Flag(name="image", kind=TEXTS, placeholder="PLACE",
             summary="An image: [NAME=]DIR of a layout, or [NAME=]URL/REPOSITORY:TAG."),
        Flag(name="registry", kind=TEXTS, placeholder="URL",
             summary="A registry: [NAME=]URL, or docker-registry, which is started for it."),
        Flag(name="section", kind=TEXTS, placeholder="NAME", summary="Only this section of the clauses."),
        Flag(name="format", kind=TEXT, default="text", choices=FORMATS, summary="Form of the report."),
        Flag(name="output", kind=TEXT, placeholder="FILE", summary="Write the report there."),
    ),
    examples=("pyrunc conformance --runtime runc --runtime pyrunc --format html --output report.html",),
)  # fmt: skip

_RUN = "import sys; sys.path.insert(0, {suite!r}); from conformance.__main__ import main; sys.exit(main())"


def main(settings: Settings, given: dict[str, Any]) -> NoReturn:
    """The suite's exit code: 0 nothing is red, 1 something is, 2 it could not run."""
    words = [
        f"--{flag.name}={value}"
        for flag in COMMAND.flags
        for value in (given[flag.name] if flag.kind == TEXTS else [given[flag.name]])
        if value
    ]
    program = (sys.executable, "-PB", "-c", _RUN.format(suite=suite_directory()), *words)
    with doing("run the suite", sys.executable):
        os.execv(sys.executable, program)


def suite_directory() -> str:
    """Where the package `conformance` is: in `suite`, within us (pip) or beside us (make install), once
    installed; beside us in a checkout."""
    package = os.path.abspath(__file__).rpartition("/cli/")[0]
    beside = os.path.dirname(package)
    for place in (f"{package}/suite", f"{beside}/suite", beside):
        if os.path.isfile(f"{place}/conformance/pytest.ini"):
            return place
    hint = "install pyrunc with `make install`, or run `python -m conformance` in a checkout"
    raise PyruncError(NOT_FOUND, "the conformance suite isn't installed", beside, hint=hint)
