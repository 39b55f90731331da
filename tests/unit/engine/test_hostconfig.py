"""engine.hostconfig: what is completed, and what is refused before anything is made."""

from __future__ import annotations

import pytest

from pyrunc.engine import hostconfig
from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError


def test_every_key_is_there_and_nulls_mean_nothing():
    made = hostconfig.complete_host({"Memory": None, "NetworkMode": "default", "Unknown": 1})
    assert set(made) == set(hostconfig.HOST_DEFAULTS)
    assert (made["Memory"], made["NetworkMode"], made["Runtime"]) == (0, "bridge", "pyrunc")
    assert "/proc/kcore" in made["MaskedPaths"]


def test_the_daemons_log_driver_stands_where_none_is_named():
    assert hostconfig.complete_host({}, (), "local")["LogConfig"]["Type"] == "local"
    assert hostconfig.complete_host({"LogConfig": {"Type": ""}}, (), "local")["LogConfig"]["Type"] == "local"
    named = {"LogConfig": {"Type": "json-file", "Config": {}}}
    assert hostconfig.complete_host(named, (), "local")["LogConfig"]["Type"] == "json-file"


def test_defaults_are_not_shared():
    hostconfig.complete_host({})["PortBindings"]["80/tcp"] = []
    assert hostconfig.complete_host({})["PortBindings"] == {}


def test_privileged_masks_nothing():
    made = hostconfig.complete_host({"Privileged": True})
    assert (made["MaskedPaths"], made["ReadonlyPaths"]) == (None, None)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"DeviceRequests": [{"Count": -1}]}, UNSUPPORTED),
        ({"StorageOpt": {"size": "1g"}}, UNSUPPORTED),
        ({"VolumeDriver": "nfs"}, UNSUPPORTED),
        ({"LogConfig": {"Type": "syslog"}}, UNSUPPORTED),
        ({"LogConfig": {"Type": "json-file", "Config": {"labels": "x"}}}, UNSUPPORTED),
        ({"LogConfig": {"Type": "json-file", "Config": {"max-size": "x"}}}, INVALID),
        ({"RestartPolicy": {"Name": "sometimes"}}, INVALID),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}}, INVALID),
        ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, INVALID),
        ({"Memory": 1 << 20}, INVALID),
        ({"MemorySwap": 1 << 30}, INVALID),
        ({"Memory": 1 << 30, "MemorySwap": 1 << 29}, INVALID),
        ({"NanoCpus": 1, "CpuQuota": 1000}, INVALID),
        ({"CpuPeriod": 10}, INVALID),
        ({"Runtime": "other"}, INVALID),
        ({"IpcMode": "what"}, INVALID),
        ({"UsernsMode": "keep-id"}, INVALID),
        ({"MemorySwappiness": 101}, INVALID),
    ],
)
def test_what_cannot_be_is_refused(given, kind):
    with pytest.raises(PyruncError) as caught:
        hostconfig.complete_host(given)
    assert caught.value.kind == kind


IMAGE = {
    "Entrypoint": ["e"], "Cmd": ["c"], "Env": ["A=1", "B=2"], "Labels": {"l": "1"}, "User": "bob",
    "ExposedPorts": {"80/tcp": {}}, "StopSignal": "INT",
    "Healthcheck": {"Test": ["CMD", "t"], "Interval": 5_000_000},
}  # fmt: skip


def test_the_images_settings_are_changed_by_what_is_given():
    made = hostconfig.complete_config({"Env": ["B=3", "C=4"], "Labels": {"m": "2"}, "Image": "i"}, IMAGE)
    assert (made["Entrypoint"], made["Cmd"], made["User"]) == (["e"], ["c"], "bob")
    assert made["Env"] == ["A=1", "B=3", "C=4"]
    assert made["Labels"] == {"l": "1", "m": "2"}
    assert (made["ExposedPorts"], made["StopSignal"]) == ({"80/tcp": {}}, "INT")
    assert made["Healthcheck"] == {"Test": ["CMD", "t"], "Interval": 5_000_000}


@pytest.mark.parametrize(
    ("given", "entrypoint", "command"),
    [
        ({"Cmd": ["x"]}, ["e"], ["x"]),
        ({"Entrypoint": ["y"]}, ["y"], None),
        ({"Entrypoint": ["y"], "Cmd": ["x"]}, ["y"], ["x"]),
        ({"Entrypoint": [""], "Cmd": ["x"]}, None, ["x"]),
    ],
)
def test_entrypoint_and_command(given, entrypoint, command):
    made = hostconfig.complete_config(given, IMAGE)
    assert (made["Entrypoint"], made["Cmd"]) == (entrypoint, command)


def test_a_container_has_something_to_run():
    with pytest.raises(PyruncError, match="no command specified"):
        hostconfig.complete_config({}, {})


def test_no_health_check_takes_the_images_away():
    made = hostconfig.complete_config({"Healthcheck": {"Test": ["NONE"]}}, IMAGE)
    assert made["Healthcheck"] == {"Test": ["NONE"]}


def test_a_variable_without_a_value_is_taken_away():
    assert hostconfig.merge_environment(["A=1", "B=2"], ["A", "C=3"]) == ["B=2", "C=3"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("10m", 10 << 20), ("1g", 1 << 30), ("512k", 512 << 10), ("7", 7), ("1.5kb", 1536), ("x", 0), ("", 0)],
)
def test_sizes(text, size):
    assert hostconfig.log_size(text) == size


def test_no_more_cpus_than_there_are():
    hostconfig.require_cpus({"NanoCpus": 2_000_000_000}, 2)
    with pytest.raises(PyruncError, match=r"range of CPUs is from 0\.01 to 2\.00, as there are only 2 CPUs"):
        hostconfig.require_cpus({"NanoCpus": 2_000_000_001}, 2)


@pytest.mark.parametrize("key", ["IPv6Address", "LinkLocalIPs"])
def test_addresses_that_no_endpoint_can_have(key):
    hostconfig.require_endpoints({"net": None, "other": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}}})
    with pytest.raises(PyruncError) as told:
        hostconfig.require_endpoints({"net": {"IPAMConfig": {key: ["x"]}}})
    assert told.value.kind == UNSUPPORTED
