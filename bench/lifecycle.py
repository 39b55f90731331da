"""Every verb of the command line: time, CPU, instructions, and the memory held between create and start."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import median

from bench import charts, host
from bench.figures import compare, table
from bench.measurement import Found, Given, no_samples
from bench.programs import OPERATIONS, Cost, Program, life, new_id


def measure(given: Given) -> Found:
    bundles = given.bundles.make("short", ["true"]), given.bundles.make("long", ["sleep", "1000"])
    names = [program.name for program in given.programs]
    wall = no_samples(OPERATIONS, names)
    cpu = no_samples(OPERATIONS, names)
    held = no_samples(("created",), names)
    for program, counts in given.turns(given.programs):
        for operation, cost in life(program, bundles, given.gap):
            if not counts:
                continue
            if isinstance(cost, Cost):
                wall[operation][program.name].append(cost.wall)
                cpu[operation][program.name].append(cost.cpu)
            else:
                held["created"][program.name].append(host.held_kib(cost))
    instructions = {program.name: _instructions(program, bundles[1]) for program in given.programs}
    chart = charts.bars(
        "Milliseconds of a call, median",
        {op: {name: median(found) for name, found in wall[op].items()} for op in OPERATIONS},
        "ms",
    )
    tables = [compare("ms: median (min)", wall), compare("CPU ms", cpu), compare("PSS of init, KiB", held, 0)]
    if any(instructions.values()):
        tables.append(_table(instructions))
    data = {"wall_ms": wall, "cpu_ms": cpu, "held_kib": held, "instructions_millions": instructions}
    return Found(tables=tables, data=data, chart=chart)


def _instructions(program: Program, bundle: Path) -> dict[str, float]:
    """Of verbs that make no child. Empty where there is no valgrind, or for what it can't run; `kill` is left
    out, for valgrind knows no pidfd_send_signal(2)."""
    if shutil.which("valgrind") is None:
        return {}
    name, found = new_id(), {}
    program.create(bundle, name)
    try:
        for operation in ("state", "start", "delete"):
            if operation == "delete":
                program("kill", name, "KILL")
                host.await_end(program.pid())
            count = program.instructions(operation, name)
            if count is None:
                break
            found[operation] = count
    finally:
        program.remove(name)
    return found


def _table(instructions: dict[str, dict[str, float]]) -> str:
    names = [name for name, found in instructions.items() if found]
    operations = instructions[names[0]]
    rows = [[op, *(f"{instructions[name].get(op, 0):.2f}" for name in names)] for op in operations]
    return table(["million instructions", *names], rows)
