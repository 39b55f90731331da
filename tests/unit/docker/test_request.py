"""docker.request and the parsers it is made of: options of `run` to the API's document."""

import os

import pytest

from pyrunc.docker.commands.run import RUN
from pyrunc.docker.mounts import parse_mount, split_fields, split_volumes
from pyrunc.docker.pairs import parse_pairs_file
from pyrunc.docker.ports import parse_exposed, parse_published
from pyrunc.docker.request import make_request, parse_network
from pyrunc.errors import PyruncError


def request(*words: str) -> dict:
    return make_request(RUN.parse([*words, "busybox"]))


@pytest.mark.parametrize(
    ("word", "bindings"),
    [
        ("80", {"80/tcp": [("", "")]}),
        ("8080:80", {"80/tcp": [("", "8080")]}),
        ("127.0.0.1:80:5000", {"5000/tcp": [("127.0.0.1", "80")]}),
        ("127.0.0.1::5000/udp", {"5000/udp": [("127.0.0.1", "")]}),
        ("[::1]:80:81", {"81/tcp": [("::1", "80")]}),
        ("8000-9000:5000", {"5000/tcp": [("", "8000-9000")]}),
        ("7000-7001:80-81", {"80/tcp": [("", "7000")], "81/tcp": [("", "7001")]}),
        ("target=80,published=8080,protocol=udp", {"80/udp": [("", "8080")]}),
    ],
)
def test_published_ports(word, bindings):
    found = parse_published((word,))
    assert {
        key: [(one["HostIp"], one["HostPort"]) for one in made] for key, made in found.items()
    } == bindings


@pytest.mark.parametrize(
    "word", ["x", "80/xyz", "1-2:1-3", "70000:80", "80:", "9-8:9-8", "127.0.0.1:80:", "-p"]
)
def test_what_is_no_port_is_refused(word):
    with pytest.raises(PyruncError):
        parse_published((word,))


def test_which_of_two_ports_is_none():
    for word, said in ("70000:80", "invalid hostPort: 70000"), ("80:x", "invalid containerPort: x"):
        with pytest.raises(PyruncError, match=said):
            parse_published((word,))


def test_exposed_ports():
    assert set(parse_exposed(("80", "90-91/udp"))) == {"80/tcp", "90/udp", "91/udp"}


def test_a_mount():
    assert parse_mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave") == {
        "Type": "bind",
        "Source": "/a",
        "Target": "/b",
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rslave"},
    }
    volume = parse_mount('source=v,target=/v,volume-nocopy,"volume-opt=o=a,b"')
    assert volume["VolumeOptions"] == {"NoCopy": True, "DriverConfig": {"Options": {"o": "a,b"}}}
    tmpfs = parse_mount("type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770")
    assert tmpfs["TmpfsOptions"] == {"SizeBytes": 64 << 20, "Mode": 0o1770}


@pytest.mark.parametrize(
    "text",
    ["type=bind,source=/a", "type=x,target=/a", "target=/a,nope=1", "target=/a,readonly=maybe", "target",
     "type=tmpfs,target=/a,volume-nocopy", "type=tmpfs,target=/a,tmpfs-mode=9"],
)  # fmt: skip
def test_a_mount_that_cannot_be_is_refused(text):
    with pytest.raises(PyruncError):
        parse_mount(text)


def test_fields_have_quotes():
    assert split_fields('a,"b,c","d""e",f') == ["a", "b,c", 'd"e', "f"]
    with pytest.raises(PyruncError):
        split_fields('"a')


def test_volumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    binds, volumes = split_volumes(("/data", "./x:/x:ro", "v:/v", "/a:/b"))
    assert binds == [f"{os.getcwd()}/x:/x:ro", "v:/v", "/a:/b"]
    assert volumes == {"/data": {}}
    with pytest.raises(PyruncError):
        split_volumes(("data",))


def test_an_environment_file(monkeypatch):
    monkeypatch.setenv("HERE", "there")
    monkeypatch.delenv("NOWHERE", raising=False)
    data = b"\xef\xbb\xbf# said to nobody\n\nA=1\r\n  B= two \nHERE\nNOWHERE\nC=\n"
    assert parse_pairs_file(data, "f", looks_up=True) == ["A=1", "B= two ", "HERE=there", "C="]


@pytest.mark.parametrize("data", [b"=x\n", b"A B=1\n", b"A =1\n", b"\xff\xfe\n"])
def test_a_bad_environment_file_is_refused_with_its_place(data):
    with pytest.raises(PyruncError, match="where"):
        parse_pairs_file(data, "where", looks_up=True)


def test_limits_travel_as_numbers():
    host = request("-m", "64m", "--memory-swap", "-1", "--cpus", "1.5", "--pids-limit", "9",
                   "--shm-size", "1g",
                   "--ulimit", "nofile=10:20", "--device-read-bps", "/dev/sda:1mb")["HostConfig"]  # fmt: skip
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (64 << 20, -1, 1_500_000_000)
    assert (host["PidsLimit"], host["ShmSize"]) == (9, 1 << 30)
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]
    assert host["BlkioDeviceReadBps"] == [{"Path": "/dev/sda", "Rate": 1 << 20}]


def test_what_was_not_asked_for_is_not_sent():
    host = request()["HostConfig"]
    assert not {"Memory", "Init", "PidsLimit", "MemorySwappiness", "Privileged"} & set(host)
    assert "Entrypoint" not in request()
    assert request("--entrypoint", "")["Entrypoint"] == [""]


def test_who_is_attached():
    assert request()["AttachStdout"] and not request()["AttachStdin"]
    assert request("-i")["StdinOnce"]
    detached = request("-d", "-i")
    assert (detached["OpenStdin"], detached["StdinOnce"], detached["AttachStdout"]) == (True, False, False)


def test_health():
    made = request("--health-cmd", "x", "--health-interval", "1m30s", "--health-retries", "2")
    assert made["Healthcheck"] == {
        "Test": ["CMD-SHELL", "x"], "Interval": 90_000_000_000, "Retries": 2,
    }  # fmt: skip
    assert request("--no-healthcheck")["Healthcheck"] == {"Test": ["NONE"]}
    assert request("--health-on-failure", "kill")["Labels"] == {"io.pyrunc.health-on-failure": "kill"}


def test_networks():
    made = request("--network", "web", "--network-alias", "a", "--ip", "10.0.0.2")
    assert made["HostConfig"]["NetworkMode"] == "web"
    assert made["NetworkingConfig"]["EndpointsConfig"] == {
        "web": {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "10.0.0.2"}}
    }
    assert request("--net", "host")["HostConfig"]["NetworkMode"] == "host"
    assert parse_network("name=x,alias=y,ip=10.0.0.3") == (
        "x", {"Aliases": ["y"], "IPAMConfig": {"IPv4Address": "10.0.0.3"}},
    )  # fmt: skip


def test_devices():
    made = request("--device", "/dev/null:/dev/x:r", "--device", "/dev/zero:rw")["HostConfig"]["Devices"]
    assert [(one["PathOnHost"], one["PathInContainer"], one["CgroupPermissions"]) for one in made] == [
        ("/dev/null", "/dev/x", "r"), ("/dev/zero", "/dev/zero", "rw"),
    ]  # fmt: skip


def test_a_seccomp_profile_travels_as_its_text(tmp_path):
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    host = request("--security-opt", f"seccomp={profile}", "--security-opt", "no-new-privileges")[
        "HostConfig"
    ]
    assert host["SecurityOpt"] == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}', "no-new-privileges"]
    bare = request("--security-opt", "systempaths=unconfined")["HostConfig"]
    assert (bare["MaskedPaths"], bare["SecurityOpt"]) == ([], None)


@pytest.mark.parametrize(
    "words",
    [["--restart", "always", "--rm"], ["--add-host", "x"], ["--ulimit", "nofile"], ["--no-healthcheck",
     "--health-cmd", "x"], ["-m", "lots"], ["--device", "/dev/a:/b:xyz"], ["--network", "name="],
     ["--restart", "on-failure:x"], ["-a", "stdnone"], ["--security-opt", "seccomp=/nowhere"]],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_asked(words):
    with pytest.raises(PyruncError):
        request(*words)
