"""plan.syscalls agrees with whoever else knows the numbers, and is written as seccomp.py reads it."""

import importlib

import pytest
from support import libseccomp

from pyrunc.plan.syscalls import ALIASES, TABLES

LIBSECCOMP = {name.removeprefix("SCMP_ARCH_").lower(): name for name in libseccomp.ARCHITECTURES}
SYSTEM_CALLS = {
    "x86": "i386",
    "aarch64": "arm64",
    "mips": "mipso32",
    "ppc": "powerpc",
    "ppc64": "powerpc64",
}
# of all machines alike, since Linux 5.1 (asm-generic/unistd.h)
COMMON = {"pidfd_send_signal": 424, "openat2": 437, "faccessat2": 439, "cachestat": 451, "mseal": 462}
BASES = {"x32": 1 << 30, "mips": 4000, "mips64": 5000, "mips64n32": 6000}


def numbers_of(table: str) -> dict[str, int]:
    found = {}
    for start, names in TABLES[table]:
        found.update({name: number for number, name in enumerate(names.split(), start)})
    return found | {alias: found[name] for alias, name in ALIASES.get(table, {}).items()}


@pytest.mark.parametrize("table", TABLES)
def test_runs_ascend_and_no_name_is_there_twice(table):
    end = 0
    names = []
    for start, text in TABLES[table]:
        assert start >= end
        names += text.split()
        end = start + len(text.split())
    assert len(names) == len(set(names))


@pytest.mark.parametrize("table", [table for table in TABLES if table in LIBSECCOMP])
def test_every_call_that_libseccomp_knows(table):
    ours = numbers_of(table)
    theirs = libseccomp.names_of(LIBSECCOMP[table])
    assert len(theirs) > 300
    assert {name: ours.get(name) for name in theirs} == theirs


def test_every_call_of_the_kernels_headers():
    """As the package system-calls has them; it is what the tables are generated from."""
    pytest.importorskip("system_calls")
    for table in TABLES:
        module = SYSTEM_CALLS.get(table, table)
        source = vars(importlib.import_module(f"system_calls.tables.{module}"))[f"syscalls_{module}"]
        theirs = {name: number for name, number in source.items() if number is not None}
        ours = numbers_of(table)
        assert {name: ours.get(name) for name in theirs} == theirs, table


@pytest.mark.parametrize("table", TABLES)
def test_calls_that_have_one_number_on_all_machines(table):
    ours = numbers_of(table)
    assert {name: ours[name] - BASES.get(table, 0) for name in COMMON} == COMMON
