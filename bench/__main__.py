"""python -m bench MEASUREMENT --runtime runc=/usr/sbin/runc --runtime pyrunc=build/prefix/bin/pyrunc ..."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from bench import growth, host, lifecycle, memory, storm, warm
from bench.bundles import Bundles, profile
from bench.measurement import Given
from bench.programs import Failed, Program
from pyrunc.plan.syscalls import TABLES

MEASUREMENTS = {
    "lifecycle": (
        lifecycle.measure,
        20,
        "every verb: time, CPU, instructions, memory between create and start",
    ),
    "warm": (warm.measure, 20, "the spawner's operations beside those of command lines"),
    "storm": (storm.measure, 40, "containers per second, with 1, 2 and 8 at once; -n: how many in one go"),
    "memory": (memory.measure, 5, "what is held for a container, and by a spawner"),
    "growth": (growth.measure, 5, "cost by containers that exist, mounts, and the caller's memory"),
}


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Needs root. " + __doc__)
    measurements = parser.add_subparsers(dest="measurement", required=True, metavar="MEASUREMENT")
    for name, (_, rounds, summary) in MEASUREMENTS.items():
        one = measurements.add_parser(name, help=summary, description=summary)
        one.add_argument("--runtime", action="append", required=True, metavar="NAME=COMMAND",
                         help="ratios are to the first")  # fmt: skip
        one.add_argument("-n", "--rounds", type=int, default=rounds)
        one.add_argument("--seccomp", action="store_true", help="with a profile that names 434 system calls")
        one.add_argument("--gap", type=float, default=0, metavar="SECONDS",
                         help="pause before each operation: back to back, some ride on the waits of the "
                              "one before")  # fmt: skip
        one.add_argument("--hide", action="append", default=[], metavar="PATH",
                         help="unmount it, for the measurement alone")  # fmt: skip
        one.add_argument(
            "--most", type=int, default=100, metavar="N", help="how many containers exist at most"
        )
        one.add_argument("--forward", action="store_true", help="go before all else on a busy machine")
        one.add_argument("--busybox", default="/bin/busybox", help="a static one, for the root filesystem")
        one.add_argument("--output", default="", metavar="PREFIX",
                         help="PREFIX.json and PREFIX.svg (build/bench/MEASUREMENT)")  # fmt: skip
    return parser.parse_args(words)


def main(words: list[str]) -> None:
    options = parse(words)
    if options.forward:
        host.step_forward()
    if options.hide:
        host.hide(options.hide)
    host.adopt_orphans()
    output = Path(options.output or f"build/bench/{options.measurement}")
    output.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="pyrunc-test-bench-"))
    try:
        seccomp = None
        if options.seccomp:
            tables = (*TABLES["x86_64"], *TABLES["x86"])
            seccomp = profile([name for _, names in tables for name in names.split()])
        given = Given(
            programs=[Program(text, work) for text in options.runtime],
            bundles=Bundles(work, options.busybox, seccomp),
            work=work,
            rounds=options.rounds,
            gap=options.gap,
            most=options.most,
            goes_forward=options.forward,
        )
        found = MEASUREMENTS[options.measurement][0](given)
    except (Failed, OSError) as error:
        sys.exit(f"bench: {error}")
    finally:
        shutil.rmtree(work)
    print("\n\n".join(found.tables))
    how = {name: value for name, value in vars(options).items() if name != "output"}
    document = {"how": how, "cpus": os.cpu_count(), "kernel": os.uname().release, **found.data}
    output.with_name(output.name + ".json").write_text(json.dumps(document, indent=1) + "\n")
    output.with_name(output.name + ".svg").write_text(found.chart)


if __name__ == "__main__":
    main(sys.argv[1:])
