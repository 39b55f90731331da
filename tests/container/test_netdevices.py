"""linux.netDevices: network devices of the caller's, moved into the container.

The runtime runs in a network namespace made for the test: what it moves is never the machine's.
"""

import json
import os
import subprocess
import uuid

import pytest
from support.bundle import PREFIX
from support.fields import covers
from support.host import needs_program
from support.marks import deviation

pytestmark = [needs_program("ip"), deviation("runc", reason="does not know the field", before="1.4")]
MAC = "02:00:00:00:00:07"


class Host:
    """A network namespace with a veth pair, eth7 and its peer."""

    def __init__(self, name):
        self.name = name
        self.prefix = ("ip", "netns", "exec", name)

    def ip(self, *words):
        done = subprocess.run(["ip", "-n", self.name, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def links(self):
        return {link["ifname"] for link in json.loads(self.ip("-json", "link", "show"))}


@pytest.fixture
def host(runtime):
    made = Host(f"{PREFIX}{uuid.uuid4().hex[:8]}")
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    try:
        made.ip("link", "add", "eth7", "address", MAC, "mtu", "1400", "type", "veth", "peer", "name", "peer7")
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made.name], check=True)


def inside(runtime, bundle, *words):
    """What `ip` says of the container's network namespace: the host's, for busybox has no JSON."""
    command = ["nsenter", f"--net=/proc/{runtime.pid(bundle)}/ns/net", "ip", "-json", *words]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def addresses(runtime, bundle, name):
    (link,) = inside(runtime, bundle, "address", "show", "dev", name)
    return {
        f"{item['local']}{'>' + item['address'] if 'address' in item else ''}/{item['prefixlen']}"
        for item in link["addr_info"]
        if item["scope"] == "global"
    }


def launch(runtime, bundle, host):
    runtime.create(bundle, "sleep", "1000", prefix=host.prefix).ok()
    runtime.start(bundle).ok()


def test_a_device_moves_and_is_up(runtime, bundle, host):
    bundle.linux["netDevices"] = {"eth7": {}}
    launch(runtime, bundle, host)
    (link,) = inside(runtime, bundle, "link", "show", "dev", "eth7")
    assert (link["mtu"], link["address"]) == (1400, MAC)
    assert "UP" in link["flags"]
    assert host.links() == {"lo", "peer7"}


@covers("/linux/netDevices/*/name")
def test_it_may_get_another_name(runtime, bundle, host):
    host.ip("link", "set", "eth7", "up")
    bundle.linux["netDevices"] = {"eth7": {"name": "inner0"}}
    launch(runtime, bundle, host)
    assert {link["ifname"] for link in inside(runtime, bundle, "link", "show")} >= {"lo", "inner0"}
    assert host.links() == {"lo", "peer7"}


def test_addresses_that_are_meant_to_stay_move_with_it(runtime, bundle, host):
    host.ip("link", "set", "eth7", "up")
    host.ip("link", "set", "peer7", "up")
    host.ip("address", "add", "10.9.8.7/24", "broadcast", "10.9.8.255", "label", "eth7:x", "dev", "eth7")
    host.ip("address", "add", "10.9.8.8/24", "dev", "eth7")
    host.ip("address", "add", "10.1.1.1", "peer", "10.9.7.8/32", "dev", "eth7")
    host.ip("address", "add", "fd00::5/64", "dev", "eth7", "nodad")
    host.ip("address", "add", "10.8.8.8/24", "valid_lft", "1000", "preferred_lft", "1000", "dev", "eth7")
    host.ip("address", "add", "10.7.7.7/24", "scope", "link", "dev", "eth7")
    bundle.linux["netDevices"] = {"eth7": {"name": "inner0"}}
    launch(runtime, bundle, host)
    assert addresses(runtime, bundle, "inner0") == {
        "10.9.8.7/24", "10.9.8.8/24", "10.1.1.1>10.9.7.8/32", "fd00::5/64",
    }  # fmt: skip
    (link,) = inside(runtime, bundle, "address", "show", "dev", "inner0")
    assert not [item for item in link["addr_info"] if item["local"] == "10.7.7.7"]
    assert [item.get("broadcast") for item in link["addr_info"] if item["local"] == "10.9.8.7"] == [
        "10.9.8.255"
    ]


def test_a_number_that_is_free(runtime, bundle, host):
    host.ip("link", "add", "eth8", "type", "veth", "peer", "name", "peer8")
    bundle.linux["netDevices"] = {"eth7": {"name": "net0"}, "eth8": {"name": "net%d"}}
    launch(runtime, bundle, host)
    assert {link["ifname"] for link in inside(runtime, bundle, "link", "show")} >= {"net0", "net1"}
    assert host.links() == {"lo", "peer7", "peer8"}


def test_a_device_that_is_not_there(runtime, bundle, host):
    bundle.linux["netDevices"] = {"eth99": {}}
    done = runtime.create(bundle, "true", prefix=host.prefix)
    done.failed("/linux/netDevices/eth99", "no such network device")
    assert host.links() == {"lo", "eth7", "peer7"}


def test_a_name_that_is_taken(runtime, bundle, host):
    """The device stays where it was, as it was."""
    host.ip("link", "set", "eth7", "up")
    host.ip("address", "add", "10.9.8.7/24", "dev", "eth7")
    bundle.linux["netDevices"] = {"eth7": {"name": "lo"}}
    done = runtime.create(bundle, "true", prefix=host.prefix)
    done.failed("/linux/netDevices/eth7", "of that name already")
    assert host.links() == {"lo", "eth7", "peer7"}
    assert "10.9.8.7/24" in host.ip("address", "show", "dev", "eth7")


def test_a_network_namespace_by_path(runtime, bundle, host):
    other = Host(f"{host.name}-b")
    subprocess.run(["ip", "netns", "add", other.name], check=True)
    try:
        bundle.namespace("network", f"/run/netns/{other.name}")
        bundle.linux["netDevices"] = {"eth7": {}}
        launch(runtime, bundle, host)
        assert "eth7" in other.links()
        assert host.links() == {"lo", "peer7"}
    finally:
        subprocess.run(["ip", "netns", "delete", other.name], check=True)


@pytest.mark.parametrize("path", [None, "own"])
def test_not_to_where_it_is(runtime, bundle, host, path):
    bundle.unmount("/sys")
    bundle.unmount("/sys/fs/cgroup")
    bundle.share("network")
    if path:
        bundle.namespace("network", f"/run/netns/{host.name}")
    bundle.linux["netDevices"] = {"eth7": {"name": "renamed"}}
    runtime.create(bundle, "true", prefix=host.prefix).failed("/linux/netDevices", "network namespace")
    assert host.links() == {"lo", "eth7", "peer7"}


def test_in_a_user_namespace(runtime, bundle, host):
    bundle.map_ids()
    bundle.linux["netDevices"] = {"eth7": {"name": "inner0"}}
    launch(runtime, bundle, host)
    assert "inner0" in {link["ifname"] for link in inside(runtime, bundle, "link", "show")}


def test_hooks_and_settings_find_it(runtime, bundle, host, work):
    bundle.linux["netDevices"] = {"eth7": {"name": "inner0"}}
    bundle.linux["sysctl"] = {"net.ipv4.conf.inner0.forwarding": "1"}
    script = f"nsenter --net=/proc/$(jq .pid)/ns/net ip link show dev inner0 > {work}/hook"
    script = script.replace("jq .pid", """sed 's/.*"pid": *\\([0-9]*\\).*/\\1/'""")
    bundle.config["hooks"] = {
        "prestart": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": [f"PATH={os.environ['PATH']}"]}]
    }
    launch(runtime, bundle, host)
    assert "inner0" in (work / "hook").read_text()
    done = runtime.exec(bundle, "cat", "/proc/sys/net/ipv4/conf/inner0/forwarding").ok()
    assert done.stdout == "1\n"
