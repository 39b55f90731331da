"""Other people's FORWARD chain. dockerd, ufw and many administrators have it drop what they do not know, and
a packet is forwarded only if each table of each owner accepts it. So where it drops by default, our bridges
are let through, and our own table decides. The rules bear our table's name, and go with their bridge.

iptables is nftables underneath nearly everywhere by now, and then this takes no program. For the old kind it
is asked whether the kernel has its table at all, which one file says.
"""

from __future__ import annotations

import subprocess

from pyrunc.errors import INTERNAL, NOT_FOUND, PyruncError
from pyrunc.network import nft, rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyrunc.network.model import Site

_LEGACY_TABLES = "/proc/thread-self/net/ip_tables_names"
_LEGACY_PROGRAM = "iptables-legacy"
_WHAT = "change the FORWARD chain of iptables"


def let_through(site: Site, bridges: Iterable[str]) -> None:
    """Where the chain drops by default. Raises PyruncError."""
    drops, there = _read(site)
    if drops:
        missing = [bridge for bridge in bridges if len(there.get(bridge, ())) < 2]
        _run("".join(line for bridge in missing for line in there.get(bridge, ())))
        _run(rules.accept_in_foreign_chain(site.table, missing))
    if _legacy_drops():
        there_too = _legacy_bridges(site)
        for bridge in bridges:
            if bridge not in there_too:
                _change_legacy(site, "-I", bridge)


def stop_letting_through(site: Site, bridges: Iterable[str]) -> None:
    """Whatever the chain does by default now."""
    gone = list(bridges)
    _, there = _read(site)
    _run("".join(line for bridge in gone for line in there.get(bridge, ())))
    for bridge in set(gone) & _legacy_bridges(site):
        _change_legacy(site, "-D", bridge)


def let_through_only(site: Site, bridges: Sequence[str]) -> None:
    there = {*_read(site)[1], *_legacy_bridges(site)}
    stop_letting_through(site, there - set(bridges))
    let_through(site, bridges)


def _read(site: Site) -> tuple[bool, dict[str, list[str]]]:
    try:
        text = nft.run(f"list chain {rules.FOREIGN_CHAIN}\n", _WHAT)
    except PyruncError as error:
        if error.kind != NOT_FOUND:
            raise
        text = ""
    return rules.parse_foreign_chain(site.table, text)


def _run(commands: str) -> None:
    if commands:
        nft.run(commands, _WHAT)


def _legacy(*arguments: str) -> list[str]:
    command = (_LEGACY_PROGRAM, "-w", *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise PyruncError(INTERNAL, _WHAT, _LEGACY_PROGRAM, "the program is not there") from error
    if done.returncode != 0:
        raise PyruncError(INTERNAL, _WHAT, " ".join(command), done.stderr.strip())
    return done.stdout.splitlines()


def _legacy_rules() -> list[str]:
    try:
        with open(_LEGACY_TABLES) as file:
            is_there = "filter" in file.read().split()
    except FileNotFoundError:
        return []
    return _legacy("-S", "FORWARD") if is_there else []


def _legacy_drops() -> bool:
    return "-P FORWARD DROP" in _legacy_rules()


def _legacy_bridges(site: Site) -> set[str]:
    """Those that rules of ours name."""
    lines = [line.split() for line in _legacy_rules()]
    return {words[words.index("-i") + 1] for words in lines if site.table in words and "-i" in words}


def _change_legacy(site: Site, verb: str, bridge: str) -> None:
    for direction in ("-i", "-o"):
        _legacy(verb, "FORWARD", direction, bridge, "-m", "comment", "--comment", site.table, "-j", "ACCEPT")
