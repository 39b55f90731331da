"""A machine for each test, where the kernel can do what a network needs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machine import Machine
from support.netns import Namespace

_PROBE = """table ip probe {
    map ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; flags interval; }
    chain out { type nat hook output priority -100;
        fib daddr type local meta l4proto { tcp, udp } \\
            dnat ip to ip daddr . meta l4proto . th dport map @ports
    }
    chain post { type nat hook postrouting priority srcnat; masquerade
    }
}"""


@pytest.fixture(scope="session", autouse=True)
def _kernel_can_do_it() -> None:
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces: needs root")
    apart = Namespace()
    try:
        with apart.entered():
            done = subprocess.run(
                ["nft", "-f", "-"], input=_PROBE, capture_output=True, text=True, check=False
            )
    except FileNotFoundError:
        pytest.skip("needs nft, of the package nftables")
    finally:
        apart.close()
    if done.returncode != 0:
        assert "Could not process rule" in done.stderr, f"the probe is wrong: {done.stderr}"
        pytest.skip(f"this kernel lacks a part of nf_tables: {done.stderr.splitlines()[0]}")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "run")
    yield made
    made.close()
