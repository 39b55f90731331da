"""The API without a daemon: an engine in our own process, or in two, over one data root."""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from support.engine import CGROUP, IMAGE, SECONDS, TABLE, Engine, rootfs_tar
from support.waiting import until

SCRIPT = """
import json, sys
sys.path[:] = {path!r}
from pyrunc.api.client import Client
from pyrunc.api.local import open_local
from pyrunc.engine.layout import Layout
from pyrunc.engine.settings import Settings
root = {root!r}
settings = Settings(network_table={table!r}, cgroup_parent={cgroup!r})
client = Client(open_local(Layout(data_root=root + "/data", run_root=root + "/run"), settings))
{body}
"""


class Local:
    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, body: str, data: bytes = b"") -> str:
        script = SCRIPT.format(
            path=sys.path, root=str(self.root), table=TABLE + "_l", cgroup=CGROUP + "-l", body=body
        )
        done = subprocess.run(
            [sys.executable, "-IB", "-c", script],
            input=data,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture
def local(network: None, tmp_path: Path):
    made = Local(tmp_path)
    load = f"""
query = {{"fromSrc": "-", "repo": {IMAGE!r}}}
with client.stream("POST", "/images/create", query=query, data=[sys.stdin.buffer.read()]) as got:
    list(got.objects())
"""
    made.run(load, rootfs_tar())
    yield made
    made.run("""
for one in client.call("GET", "/containers/json", query={"all": True}):
    client.call("DELETE", "/containers/" + one["Id"], query={"force": True, "v": True})
""")
    engine = Engine(tmp_path, ())
    until(lambda: not engine.residue(), f"nothing is left: {engine.residue()[-3:]}")


CREATE = """
made = client.call("POST", "/containers/create", query={{"name": "box"}}, body={{
    "Image": "busybox", "Cmd": {command!r}, "HostConfig": {{"NetworkMode": {network!r}, "AutoRemove":
    {removes}}}}})["Id"]
client.call("POST", f"/containers/{{made}}/start")
"""


def test_what_one_command_starts_another_finds(local):
    local.run(CREATE.format(command=["sh", "-c", "echo hello; sleep 1000"], network="bridge", removes=False))
    found = json.loads(local.run('print(json.dumps(client.call("GET", "/containers/box/json")))'))
    assert found["State"]["Running"]
    assert found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].endswith(".2")
    local.run('client.call("POST", "/containers/box/stop", query={"t": 0})')
    found = json.loads(local.run('print(json.dumps(client.call("GET", "/containers/box/json")))'))
    assert (found["State"]["Status"], found["State"]["ExitCode"]) == ("exited", 137)


def test_what_ends_later_is_cleaned_up_without_anybody(local):
    local.run(CREATE.format(command=["sleep", "0.5"], network="bridge", removes=True))
    engine = Engine(local.root, ())
    until(lambda: not engine.residue(), f"nothing is left: {engine.residue()[-3:]}", 20)
    assert local.run('print(client.call("GET", "/containers/json", query={"all": True}))') == "[]\n"


def test_a_default_network_whose_subnet_somebody_has_taken_gets_another(local):
    """It is chosen when somebody asks, and its bridge made with the first container: much later, perhaps."""
    subnet = local.run('print(client.call("GET", "/networks/bridge")["IPAM"]["Config"][0]["Subnet"])').strip()
    device = ("dev", "taker")
    subprocess.run(["ip", "link", "add", "taker", "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "link", "set", "taker", "up"], check=True)
        subprocess.run(["ip", "route", "add", subnet, *device], check=True)
        local.run(CREATE.format(command=["sleep", "1000"], network="bridge", removes=False))
        found = json.loads(local.run('print(json.dumps(client.call("GET", "/containers/box/json")))'))
        address = found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        assert ip_address(address) not in ip_network(subnet)
        network = json.loads(local.run('print(json.dumps(client.call("GET", "/networks/bridge")))'))
        assert ip_address(address) in ip_network(network["IPAM"]["Config"][0]["Subnet"])
    finally:
        subprocess.run(["ip", "link", "del", "taker"], check=True)
