"""`docker run` with each of its flags: what they mean is asked of the container and of the kernel, never of
`inspect` alone."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from support.caller import OWN_SESSION
from support.console import open_terminal
from support.engine import CGROUP, DOCKER, IMAGE, SEARCH_PATH
from support.leaks import cgroups_at
from support.netns import Namespace
from support.session import UNTIL_SIZED
from support.waiting import until

RUN = ("run", "--rm", "--network", "none")
SECONDS = 60


def detached(docker, *flags, script="sleep 1000", network="none"):
    """The id of a container that runs `script`."""
    words = ("run", "-d", "--network", network, *flags, IMAGE, "sh", "-c", script)
    return docker.ok(*words).strip()


def pid_of(docker, name):
    return int(docker.inspect(name)["State"]["Pid"])


def says(docker, *flags, script):
    """What a container says that has these flags."""
    return docker.ok(*RUN, *flags, IMAGE, "sh", "-c", script).rstrip("\n")


# --- terminal, input, lifetime ------------------------------------------------------------------------------


def test_a_terminal_is_one_with_the_size_of_the_users(docker):
    environment = {"PATH": SEARCH_PATH, "DOCKER_HOST": f"unix://{docker.socket}", "TERM": "xterm"}
    with open_terminal(33, 77) as (terminal, slave):
        script = f"tty; {UNTIL_SIZED}; stty size; read x; echo got $x"
        words = [DOCKER, *RUN, "-it", IMAGE, "sh", "-c", script]
        client = subprocess.Popen(
            [*OWN_SESSION, *words], env=environment, stdin=slave, stdout=slave, stderr=slave
        )  # fmt: skip
        try:
            assert "/dev/pts/0" in terminal.expect("33 77")
            terminal.type("word\n")
            terminal.expect("got word")
            assert client.wait(SECONDS) == 0
        finally:
            client.kill()
            client.wait()


def test_detached_prints_the_id_and_goes_on(docker):
    id = detached(docker, "--name", "box")
    assert re.fullmatch("[0-9a-f]{64}", id)
    assert docker.inspect("box")["Id"] == id
    assert os.path.exists(f"/proc/{pid_of(docker, 'box')}")


def test_rm_takes_the_container_and_its_anonymous_volumes_away(docker):
    docker.ok("run", "--rm", "--network", "none", "-v", "/scratch", "-v", "kept:/kept", IMAGE, "true")
    assert docker.ok("ps", "-aq") == ""
    assert docker.ok("volume", "ls", "-q") == "kept\n"


def test_a_cidfile_holds_the_id(docker, tmp_path):
    docker.ok("run", "-d", "--cidfile", f"{tmp_path}/cid", "--network", "none", IMAGE, "sleep", "1000")
    assert docker.ok("ps", "-q", "--no-trunc").strip() == (tmp_path / "cid").read_text()


def test_attached_to_one_stream_alone(docker):
    done = docker.docker(*RUN, "-a", "stderr", IMAGE, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("", "err\n")


# --- environment, user, process -----------------------------------------------------------------------------


def test_a_file_of_environment(docker, tmp_path):
    (tmp_path / "env").write_text("# a comment\nONE=1\nTWO=two words\nFROM_US\n")
    script = 'echo "$ONE|$TWO|$FROM_US|$THREE"'
    words = (*RUN, "--env-file", str(tmp_path / "env"), "-e", "THREE=3", IMAGE, "sh", "-c", script)
    assert docker.ok(*words) == "1|two words||3\n"


@pytest.mark.parametrize(
    ("flags", "words", "wanted"),
    [
        (("--entrypoint", "echo"), ("a", "b"), "a b\n"),
        (("--entrypoint", "/bin/echo"), (), "\n"),
        (("--workdir", "/made/for/it"), ("pwd",), "/made/for/it\n"),
        (("--user", "1000"), ("id", "-u"), "1000\n"),
        (("--user", "bob:wheel"), ("id",), "uid=1000(bob) gid=10(wheel) groups=10(wheel)\n"),
        (
            ("--user", "77:88", "--group-add", "99"),
            ("grep", "Groups", "/proc/self/status"),
            "Groups:\t88 99 \n",
        ),
        (("--user", "bob"), ("grep", "Groups", "/proc/self/status"), "Groups:\t10 1000 \n"),
        ((), ("grep", "Groups", "/proc/self/status"), "Groups:\t0 \n"),
        (("--hostname", "box", "--domainname", "example.org"), ("hostname",), "box\n"),
        (("--env", "HOME=/tmp"), ("sh", "-c", "echo $HOME"), "/tmp\n"),
        (("--user", "bob"), ("sh", "-c", "echo $HOME"), "/\n"),
        (("--hostname", "box"), ("sh", "-c", "echo $HOSTNAME"), "box\n"),
    ],
)
def test_the_process(docker, flags, words, wanted):
    assert docker.ok(*RUN, *flags, IMAGE, *words) == wanted


def test_a_user_that_is_not_there(docker):
    assert "no matching entries in passwd file" in docker.fails(*RUN, "-u", "nobody-such", IMAGE, code=125)


# --- mounts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["-v", "--mount"])
@pytest.mark.parametrize("is_readonly", [False, True])
def test_a_bind_mount(docker, tmp_path, form, is_readonly):
    (tmp_path / "there").write_text("of the host")
    short = f"{tmp_path}:/host" + (":ro" if is_readonly else "")
    long = f"type=bind,src={tmp_path},dst=/host" + (",readonly" if is_readonly else "")
    script = "cat /host/there; echo back > /host/back 2>/dev/null || echo : refused"
    got = says(docker, form, short if form == "-v" else long, script=script)
    assert got == ("of the host: refused" if is_readonly else "of the host")
    assert (tmp_path / "back").exists() is not is_readonly


def test_a_bind_mount_makes_its_directory_on_the_host_by_v_alone(docker, tmp_path):
    assert says(docker, "-v", f"{tmp_path}/new:/host", script="ls -d /host") == "/host"
    assert (tmp_path / "new").is_dir()


def test_a_file_is_bound_onto_a_file_that_is_not_there(docker, tmp_path):
    (tmp_path / "file").write_text("one file")
    assert says(docker, "-v", f"{tmp_path}/file:/etc/deep/er:ro", script="cat /etc/deep/er") == "one file"


@pytest.mark.parametrize("propagation", ["rslave", "rshared"])
def test_propagation_of_a_bind_mount(docker, tmp_path, propagation):
    wanted = {"rslave": "master:", "rshared": "shared:"}[propagation]
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    try:
        subprocess.run(["mount", "--make-shared", tmp_path], check=True)
        script = "grep ' /host ' /proc/self/mountinfo"
        assert wanted in says(docker, "-v", f"{tmp_path}:/host:{propagation}", script=script)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.parametrize("form", ["-v", "--mount"])
def test_a_volume_is_filled_from_the_image_and_shared(docker, form):
    flag = "store:/data" if form == "-v" else "type=volume,src=store,dst=/data"
    assert says(docker, form, flag, script="cat /data/seed; echo more > /data/more") == "from the image"
    assert says(docker, form, flag, script="cat /data/seed /data/more") == "from the image\nmore"
    path = json.loads(docker.ok("volume", "inspect", "store"))[0]["Mountpoint"]
    assert Path(path, "more").read_text() == "more\n"


def test_a_volume_that_is_not_filled(docker):
    assert says(docker, "-v", "empty:/data:nocopy", script="ls /data | wc -l") == "0"
    mount = "type=volume,src=empty2,dst=/data,volume-nocopy"
    assert says(docker, "--mount", mount, script="ls /data | wc -l") == "0"


def test_volumes_of_another_container(docker):
    docker.ok("create", "--name", "first", "-v", "/anon", "-v", "named:/named", IMAGE, "true")
    words = ("--volumes-from", "first:ro", IMAGE, "sh", "-c", "ls -d /anon /named; touch /named/x 2>&1")
    done = docker.docker(*RUN, *words)
    assert done.stdout == "/anon\n/named\ntouch: /named/x: Read-only file system\n"
    assert docker.ok(*RUN, "--volumes-from", "first", IMAGE, "touch", "/anon/x") == ""
    # --rm of one takes nothing of the other's away
    assert says(docker, "--volumes-from", "first", script="ls /anon") == "x"


@pytest.mark.parametrize(
    "flags",
    [("--tmpfs", "/t:size=1m,mode=700"), ("--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700")],
)
def test_a_tmpfs(docker, flags):
    script = "df -k /t | tail -1 | awk '{print $2}'; stat -c %a /t; grep ' /t ' /proc/mounts"
    size, mode, entry = says(docker, *flags, script=script).splitlines()
    assert (size, mode) == ("1024", "700")
    assert {"nosuid", "nodev"} <= set(entry.split()[3].split(","))


def test_tmpfs_takes_noexec_back(docker):
    script = "cp /bin/busybox /t/echo; /t/echo runs"
    assert "ermission denied" in docker.docker(*RUN, "--tmpfs", "/t", IMAGE, "sh", "-c", script).stderr
    assert says(docker, "--tmpfs", "/t:exec", script=script) == "runs"


def test_a_read_only_root_has_writable_mounts(docker):
    script = "touch /x 2>/dev/null || echo no; touch /t/x && echo yes; touch /dev/shm/x && echo shm"
    assert says(docker, "--read-only", "--tmpfs", "/t", script=script) == "no\nyes\nshm"


def test_shared_memory_has_its_size(docker):
    assert says(docker, "--shm-size", "3m", script="df -k /dev/shm | tail -1 | awk '{print $2}'") == "3072"


# --- network ------------------------------------------------------------------------------------------------


def fetch(address, port, seconds=5):
    with socket.create_connection((address, port), seconds) as client:
        return client.recv(100).decode()


def serving(docker, *flags, word="hello", port=80, network="bridge"):
    id = detached(docker, *flags, script=f"exec nc -ll -p {port} -e echo {word}", network=network)
    tables = [Path(f"/proc/{pid_of(docker, id)}/net/{name}") for name in ("tcp", "tcp6")]
    listens = re.compile(f":{port:04X} [0:]+ 0A ")  # proc_net_tcp(5)
    until(lambda: any(listens.search(table.read_text()) for table in tables), f"{id} listens")
    return id


def answers(address, port, word):
    def does():
        try:
            return fetch(address, port, 1).strip() == word
        except OSError:
            return False

    until(does, f"{address}:{port} answers {word}")


def test_a_published_port(docker):
    serving(docker, "-p", "18080:80", "--name", "web")
    answers("127.0.0.1", 18080, "hello")
    assert docker.ok("port", "web", "80").splitlines()[0] == "0.0.0.0:18080"
    gateway = docker.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    answers(gateway, 18080, "hello")
    docker.ok("rm", "-f", "web")
    with pytest.raises(OSError):
        fetch("127.0.0.1", 18080, 1)


def test_a_port_published_at_one_address(docker):
    serving(docker, "-p", "127.0.0.1:18081:80", "--name", "web")
    answers("127.0.0.1", 18081, "hello")
    gateway = docker.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    with pytest.raises(OSError):
        fetch(gateway, 18081, 1)


def test_a_random_port_and_all_that_are_exposed(docker):
    serving(docker, "-p", "80", "--name", "one")
    serving(docker, "-P", "--expose", "80", "--name", "two", word="two")
    for name, word in (("one", "hello"), ("two", "two")):
        port = int(docker.ok("port", name, "80/tcp").splitlines()[0].rpartition(":")[2])
        assert port >= 1024
        answers("127.0.0.1", port, word)


def test_a_range_of_ports(docker):
    flags = ("--name", "ranged", "-p", "18100-18103:5000-5003")
    serving(docker, *flags, port=5002, word="third")
    answers("127.0.0.1", 18102, "third")


def test_a_port_of_a_range_that_is_free(docker):
    serving(docker, "-p", "18110-18112:80", "--name", "one")
    serving(docker, "-p", "18110-18112:80", "--name", "two", word="two")
    ports = {docker.ok("port", name, "80").splitlines()[0].rpartition(":")[2] for name in ("one", "two")}
    assert len(ports) == 2 and ports <= {"18110", "18111", "18112"}


def test_udp(docker):
    """busybox has no program for it: the server is a socket of ours in the container's network."""
    detached(docker, "--name", "box", "-p", "18120:53/udp", network="bridge")
    inside = Namespace(f"/proc/{pid_of(docker, 'box')}/ns/net")
    try:
        with (
            inside.listen("0.0.0.0", 53, socket.SOCK_DGRAM) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            client.settimeout(SECONDS)
            client.connect(("127.0.0.1", 18120))
            client.send(b"there")
            data, peer = server.recvfrom(10)
            server.sendto(data + b" and back", peer)
            assert client.recv(20) == b"there and back"
    finally:
        inside.close()


def test_a_port_is_taken_once(docker):
    serving(docker, "-p", "18130:80")
    message = docker.fails("run", "-d", "--name", "late", "-p", "18130:80", IMAGE, "sleep", "9", code=125)
    assert "18130" in message and "already" in message
    docker.ok("rm", "late")


def test_a_port_that_a_program_of_the_host_holds(docker):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        assert str(port) in docker.fails("run", "--rm", "-p", f"{port}:80", IMAGE, "true", code=125)


def test_the_modes_of_the_network(docker):
    interfaces = (
        "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | grep -E '^(lo|eth[0-9])$' | sort | xargs"
    )
    assert says(docker, script=interfaces) == "lo"
    own = os.readlink("/proc/thread-self/ns/net")
    host = docker.ok("run", "--rm", "--network", "host", IMAGE, "readlink", "/proc/self/ns/net").strip()
    assert host == own
    assert docker.ok("run", "--rm", IMAGE, "sh", "-c", interfaces).strip() == "eth0 lo"


@pytest.mark.parametrize("mode", ["bridge", "none", "host"])
def test_the_network_of_another_container(docker, mode):
    detached(docker, "--name", "first", network=mode)
    there = docker.ok("exec", "first", "readlink", "/proc/self/ns/net")
    joined = docker.ok("run", "--rm", "--network", "container:first", IMAGE, "readlink", "/proc/self/ns/net")
    assert joined == there


def test_networks_of_ones_own_resolve_names_and_are_apart(docker):
    docker.ok("network", "create", "left")
    docker.ok("network", "create", "right")
    serving(docker, "--name", "web", "--network-alias", "www", network="left")
    for name in ("web", "www"):
        words = (
            "run",
            "--rm",
            "--network",
            "left",
            IMAGE,
            "sh",
            "-c",
            f"sleep 0.2; nc -w 3 {name} 80 </dev/null",
        )
        assert docker.ok(*words) == "hello\n"
    address = docker.inspect("web")["NetworkSettings"]["Networks"]["left"]["IPAddress"]
    for target in ("web", address):
        done = docker.docker("run", "--rm", "--network", "right", IMAGE, "nc", "-w", "1", target, "80")
        assert done.returncode == 1 and done.stdout == ""


def test_the_address_that_was_asked_for(docker):
    docker.ok("network", "create", "--subnet", "10.77.0.0/24", "lan")
    words = ("run", "--rm", "--network", "lan", "--ip", "10.77.0.9", "--mac-address", "02:42:0a:4d:00:99",
             IMAGE, "sh", "-c", "ip -4 -o addr show eth0; cat /sys/class/net/eth0/address")  # fmt: skip
    got = docker.ok(*words)
    assert "10.77.0.9/24" in got
    assert got.splitlines()[1] == "02:42:0a:4d:00:99"


def test_a_link_to_another_container(docker):
    serving(docker, "--name", "db")
    words = (
        "run",
        "--rm",
        "--link",
        "db:data",
        IMAGE,
        "sh",
        "-c",
        "nc -w 3 data 80 </dev/null; nc -w 3 db 80 </dev/null",
    )
    assert docker.ok(*words) == "hello\nhello\n"


def test_names_of_hosts_and_of_servers(docker):
    flags = ("--add-host", "far:10.1.2.3", "--add-host", "gate:host-gateway", "--dns", "10.9.8.7",
             "--dns-search", "x.y", "--dns-option", "ndots:3")  # fmt: skip
    hosts, resolv = docker.ok(
        "run", "--rm", *flags, IMAGE, "sh", "-c", "cat /etc/hosts; echo =; cat /etc/resolv.conf"
    ).split("=\n")
    assert "10.1.2.3\tfar" in hosts
    assert re.search(r"^172\.\d+\.\d+\.\d+\tgate$|^\d+\.\d+\.\d+\.\d+\tgate$", hosts, re.MULTILINE)
    assert [line for line in resolv.splitlines() if not line.startswith("#")] == [
        "nameserver 10.9.8.7", "search x.y", "options ndots:3",
    ]  # fmt: skip


# --- rights -------------------------------------------------------------------------------------------------


def capabilities(text):
    return int(text.split()[-1], 16)


def test_capabilities(docker):
    effective = "grep CapEff /proc/self/status"
    usual = capabilities(says(docker, script=effective))
    assert usual == 0xA80425FB
    assert capabilities(says(docker, "--cap-add", "NET_ADMIN", script=effective)) == usual | 1 << 12
    assert capabilities(says(docker, "--cap-drop", "CAP_CHOWN", script=effective)) == usual & ~1
    bounding = capabilities(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0])
    assert capabilities(says(docker, "--cap-add", "ALL", script=effective)) == bounding
    flags = ("--cap-drop", "ALL", "--cap-add", "kill")
    assert capabilities(says(docker, *flags, script=effective)) == 1 << 5


def test_privileged(docker):
    script = (
        "grep CapEff /proc/self/status; mount -t tmpfs x /tmp && echo mounts; ls /dev/loop-control;"
        "grep NoNewPrivs: /proc/self/status"
    )
    lines = docker.docker(*RUN, "--privileged", IMAGE, "sh", "-c", script).stdout.splitlines()
    bounding = capabilities(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0])
    assert capabilities(lines[0]) == bounding
    assert lines[1:4] == ["mounts", "/dev/loop-control", "NoNewPrivs:\t0"]


def test_an_exec_is_privileged_by_itself(docker):
    detached(docker, "--name", "box")
    effective = "grep CapEff /proc/self/status"
    got = docker.ok("exec", "--privileged", "box", "sh", "-c", effective)
    bounding = capabilities(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0])
    assert capabilities(got) == bounding
    assert capabilities(docker.ok("exec", "box", "sh", "-c", effective)) == 0xA80425FB


def test_no_new_privileges(docker):
    assert says(
        docker, "--security-opt", "no-new-privileges", script="grep NoNewPrivs /proc/self/status"
    ) == ("NoNewPrivs:\t1")
    off = says(
        docker, "--security-opt", "no-new-privileges=false", script="grep NoNewPrivs /proc/self/status"
    )
    assert off == "NoNewPrivs:\t0"


def test_a_seccomp_profile_of_ones_own(docker, tmp_path):
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    got = says(docker, "--security-opt", f"seccomp={tmp_path}/profile.json", script="mkdir /x 2>&1; touch /y")
    assert "Function not implemented" in got
    assert says(docker, "--security-opt", "seccomp=unconfined", script="grep Seccomp: /proc/self/status") == (
        "Seccomp:\t0"
    )


def test_the_usual_seccomp_profile(docker):
    """unshare is for who may administer: with the capability the same call gets through."""
    script = "unshare -m true 2>&1 && echo done"
    assert "done" not in docker.docker(*RUN, IMAGE, "sh", "-c", script).stdout
    assert says(docker, "--cap-add", "SYS_ADMIN", script=script) == "done"


def test_apparmor_unconfined(docker):
    assert says(docker, "--security-opt", "apparmor=unconfined", script="echo there") == "there"


@pytest.mark.parametrize("option", ["systempaths=unconfined"])
def test_paths_of_proc_are_bare_on_request(docker, option):
    script = "grep -c ' /proc/' /proc/self/mountinfo"
    assert int(says(docker, script=script + "; true")) > 3
    assert says(docker, "--security-opt", option, script=script + "; true") == "0"


def test_devices(docker):
    script = "ls -l /dev/lc; dd if=/dev/lc of=/dev/null count=0 2>/dev/null && echo opens"
    got = says(docker, "--device", "/dev/loop-control:/dev/lc:rw", script=script)
    assert got.startswith("crw") and got.endswith("opens")
    # a node that was made is not enough: the cgroup says no
    made = "mknod /dev/lc c 10 237; : < /dev/lc"
    assert "Operation not permitted" in docker.docker(*RUN, IMAGE, "sh", "-c", made).stderr
    assert says(docker, "--device-cgroup-rule", "c 10:237 rwm", script=f"{made} && echo opens") == "opens"


def test_user_namespace_of_the_host(docker):
    own = os.readlink("/proc/self/ns/user")
    assert says(docker, "--userns=host", script="readlink /proc/self/ns/user") == own


# --- limits -------------------------------------------------------------------------------------------------


def setting(pid, controller, v1, v2):
    """Of the cgroup that the process is in."""
    unified = ""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}/{v1}").read_text().strip()
        if not names:
            unified = path
    return Path(f"/sys/fs/cgroup{unified}/{v2}").read_text().strip()


IS_CGROUP2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")


@pytest.mark.parametrize(
    ("flags", "controller", "v1", "v2", "values"),
    [
        (("-m", "64m"), "memory", "memory.limit_in_bytes", "memory.max", ("67108864", "67108864")),
        (("-m", "64m", "--memory-reservation", "32m"), "memory", "memory.soft_limit_in_bytes", "memory.low",
         ("33554432", "33554432")),
        (("--cpus", "0.5"), "cpu", "cpu.cfs_quota_us", "cpu.max", ("50000", "50000 100000")),
        (("--cpu-shares", "512"), "cpu", "cpu.shares", "cpu.weight", ("512", "59")),
        (("--cpu-period", "50000", "--cpu-quota", "20000"), "cpu", "cpu.cfs_quota_us", "cpu.max",
         ("20000", "20000 50000")),
        (("--cpuset-cpus", "0"), "cpuset", "cpuset.cpus", "cpuset.cpus", ("0", "0")),
        (("--pids-limit", "50"), "pids", "pids.max", "pids.max", ("50", "50")),
    ],
)  # fmt: skip
def test_a_limit_is_the_kernels(docker, flags, controller, v1, v2, values):
    detached(docker, "--name", "box", *flags)
    assert setting(pid_of(docker, "box"), controller, v1, v2) == values[IS_CGROUP2]


def test_too_much_memory_ends_it_and_is_told(docker):
    script = "head -c 60m /dev/zero | tail"
    docker.docker("run", "--name", "fat", "--network", "none", "-m", "16m", "--memory-swap", "16m", IMAGE,
                  "sh", "-c", f"exec {script}")  # fmt: skip
    state = docker.inspect("fat")["State"]
    assert state["OOMKilled"] is True
    assert state["ExitCode"] in (0, 137)


def test_limits_of_the_process(docker):
    got = says(
        docker, "--ulimit", "nofile=100:200", "--ulimit", "core=0", script="ulimit -Sn; ulimit -Hn; ulimit -c"
    )
    assert got == "100\n200\n0"


def test_the_parent_of_the_cgroup(docker):
    detached(docker, "--name", "box", "--cgroup-parent", f"{CGROUP}/other")
    text = Path(f"/proc/{pid_of(docker, 'box')}/cgroup").read_text()
    assert f"{CGROUP}/other/" in text
    docker.ok("rm", "-f", "box")
    for path in cgroups_at(f"{CGROUP}/other"):  # it is the user's: it stays
        path.rmdir()


def test_who_goes_first_when_memory_runs_out(docker):
    assert says(docker, "--oom-score-adj", "500", script="cat /proc/self/oom_score_adj") == "500"


def test_sysctls(docker):
    got = says(docker, "--sysctl", "net.ipv4.ip_default_ttl=99", "--sysctl", "kernel.msgmax=9000",
               script="cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax")  # fmt: skip
    assert got == "99\n9000"


def test_a_sysctl_that_is_the_hosts(docker):
    docker.fails(*RUN, "--sysctl", "vm.swappiness=1", IMAGE, "true", code=125)


# --- namespaces ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ipc", "pid", "uts", "cgroup"])
def test_a_namespace_is_its_own_or_the_hosts(docker, kind):
    link = f"/proc/self/ns/{kind}"
    own = os.readlink(link)
    assert says(docker, script=f"readlink {link}") != own
    flag = "--cgroupns" if kind == "cgroup" else f"--{kind}"
    assert says(docker, flag, "host", script=f"readlink {link}") == own


def test_the_processes_of_another_container(docker):
    detached(docker, "--name", "first", script="sleep 4711")
    assert "sleep 4711" in says(
        docker, "--pid", "container:first", script="cat /proc/1/cmdline | tr '\\0' ' '"
    )


def test_the_shared_memory_of_another_container(docker):
    detached(docker, "--name", "first", "--ipc", "shareable", script="echo word > /dev/shm/x; sleep 1000")
    link = "readlink /proc/self/ns/ipc"
    there = docker.ok("exec", "first", "sh", "-c", link).strip()
    assert says(docker, "--ipc", "container:first", script=f"{link}; cat /dev/shm/x") == f"{there}\nword"
    detached(docker, "--name", "second")
    assert "non-shareable" in docker.fails(*RUN, "--ipc", "container:second", IMAGE, "true", code=125)


def test_no_shared_memory_at_all(docker):
    assert says(docker, "--ipc", "none", script="ls -d /dev/shm 2>/dev/null || echo none") == "none"


def test_init_reaps_and_passes_signals_on(docker):
    detached(
        docker, "--name", "box", "--init", script="trap 'echo told; exit 5' TERM; while :; do sleep 0.1; done"
    )
    until(lambda: "sh" in docker.ok("top", "box"), "it runs")
    docker.ok("exec", "box", "sh", "-c", "(sleep 0.1 &) ")
    docker.ok("stop", "box")
    assert docker.inspect("box")["State"]["ExitCode"] == 5
    assert docker.ok("logs", "box") == "told\n"


# --- policy -------------------------------------------------------------------------------------------------


def test_restart_on_failure_has_an_end(docker):
    detached(docker, "--name", "box", "--restart", "on-failure:2", script="echo run; exit 3")
    until(lambda: docker.inspect("box")["State"]["Status"] == "exited", "it is given up")
    assert docker.inspect("box")["RestartCount"] == 2
    assert docker.ok("logs", "box") == "run\n" * 3


def test_restart_always_until_somebody_stops_it(docker):
    detached(docker, "--name", "box", "--restart", "always", script="sleep 1000")
    first = pid_of(docker, "box")
    os.kill(first, 9)
    until(lambda: pid_of(docker, "box") not in (0, first), "it runs again")
    docker.ok("stop", "-t", "0", "box")
    assert docker.inspect("box")["State"]["Status"] == "exited"


def test_health_is_checked(docker):
    flags = ("--health-cmd", "test -e /well", "--health-interval", "200ms", "--health-retries", "2",
             "--health-timeout", "5s", "--health-start-period", "1ms")  # fmt: skip
    detached(docker, "--name", "box", *flags)

    def health():
        return docker.inspect("box")["State"]["Health"]["Status"]

    until(lambda: health() == "unhealthy", "it is found ill", 20)
    docker.ok("exec", "box", "touch", "/well")
    until(lambda: health() == "healthy", "it is found well", 20)
    assert "(healthy)" in docker.ok("ps")


def test_no_health_check(docker):
    detached(docker, "--name", "box", "--no-healthcheck")
    assert "Health" not in docker.inspect("box")["State"]


def test_labels(docker, tmp_path):
    (tmp_path / "labels").write_text("b=2\n")
    detached(docker, "--name", "box", "--label", "a=1", "--label-file", str(tmp_path / "labels"))
    assert {"a": "1", "b": "2"}.items() <= docker.inspect("box")["Config"]["Labels"].items()
    assert docker.ok("ps", "-q", "--filter", "label=a=1") != ""
    assert docker.ok("ps", "-q", "--filter", "label=a=2") == ""


def test_pull_policies(docker):
    assert docker.ok(*RUN, "--pull", "never", IMAGE, "echo", "here") == "here\n"
    assert docker.ok(*RUN, "--pull", "missing", IMAGE, "echo", "here") == "here\n"
    done = docker.docker(*RUN, "--pull", "always", "127.0.0.1:1/busybox", "true")
    assert done.returncode == 125 and "127.0.0.1:1" in done.stderr


def test_the_signal_that_stops(docker):
    script = "trap 'echo usr; exit 0' USR1; trap 'echo term' TERM; while :; do sleep 0.1; done"
    detached(
        docker, "--name", "box", "--stop-signal", "USR1", "--stop-timeout", "5", script=f"echo up; {script}"
    )
    until(lambda: docker.ok("logs", "box") == "up\n", "it runs")
    docker.ok("stop", "box")
    assert docker.ok("logs", "box") == "up\nusr\n"


def test_bounds_of_the_log(docker):
    flags = ("--log-driver", "json-file", "--log-opt", "max-size=20k", "--log-opt", "max-file=2")
    docker.ok("run", "--name", "box", "--network", "none", *flags, IMAGE, "sh", "-c",
              "i=0; while [ $i -lt 2000 ]; do echo line number $i; i=$((i+1)); done")  # fmt: skip
    path = Path(docker.inspect("box")["LogPath"])
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    assert size <= 41_000
    assert docker.ok("logs", "--tail", "1", "box") == "line number 1999\n"


def test_no_log_at_all(docker):
    docker.ok("run", "--name", "box", "--network", "none", "--log-driver", "none", IMAGE, "echo", "gone")
    assert "does not support reading" in docker.fails("logs", "box")


def test_another_runtime_is_asked_for_by_name(docker):
    assert docker.ok(*RUN, "--runtime", "io.containerd.runc.v2", IMAGE, "echo", "x") == "x\n"


def test_a_platform_that_this_machine_is_not(docker):
    done = docker.docker(*RUN, "--pull", "never", "--platform", "linux/s390x", IMAGE, "true")
    assert done.returncode == 125, done.stdout
