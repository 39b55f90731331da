"""The options of `run` and `create`, which are those of Docker: a table."""

from __future__ import annotations

from pyrunc.docker.words import REAL
from pyrunc.options import DURATION, NUMBER, TEXT, TEXTS, Flag


def _text(name: str, summary: str, short: str = "", *, hidden: bool = False, default: str = "") -> Flag:
    return Flag(name=name, summary=summary, short=short, kind=TEXT, hidden=hidden, default=default)


def _texts(name: str, summary: str, short: str = "", *, hidden: bool = False) -> Flag:
    return Flag(name=name, summary=summary, short=short, kind=TEXTS, hidden=hidden)


def _number(name: str, summary: str, short: str = "") -> Flag:
    return Flag(name=name, summary=summary, short=short, kind=NUMBER)


CREATE_FLAGS = (
    _texts("add-host", "A line of /etc/hosts: NAME:ADDRESS (host-gateway: the host's)."),
    _texts("annotation", "An annotation for the OCI runtime: NAME=VALUE."),
    _texts("attach", "Attach to stdin, stdout or stderr.", "a"),
    _number("blkio-weight", "Block I/O weight, 10 to 1000."),
    _texts("blkio-weight-device", "The same for one device: PATH:WEIGHT."),
    _texts("cap-add", "Give a capability."),
    _texts("cap-drop", "Take a capability away."),
    _text("cgroup-parent", "The cgroup above the container's."),
    _text("cgroupns", "Cgroup namespace: host or private."),
    _text("cidfile", "Write the container's id to this file."),
    _number("cpu-period", "Period of the CPU quota, in microseconds."),
    _number("cpu-quota", "CPU time within a period, in microseconds."),
    _number("cpu-rt-period", "Period of realtime scheduling, in microseconds."),
    _number("cpu-rt-runtime", "Realtime CPU time within a period, in microseconds."),
    _number("cpu-shares", "Weight among containers that want the CPU.", "c"),
    Flag(name="cpus", kind=REAL, summary="How many CPUs it may use: 1.5"),
    _text("cpuset-cpus", "Which CPUs: 0-2,4"),
    _text("cpuset-mems", "Which memory nodes."),
    _texts("device", "A device of the host: PATH[:PATH[:rwm]], or a CDI name."),
    _texts("device-cgroup-rule", "A rule of the device cgroup: 'c 42:* rmw'."),
    _texts("device-read-bps", "Bytes read per second: PATH:RATE."),
    _texts("device-read-iops", "Reads per second: PATH:RATE."),
    _texts("device-write-bps", "Bytes written per second: PATH:RATE."),
    _texts("device-write-iops", "Writes per second: PATH:RATE."),
    _texts("dns", "A name server."),
    _texts("dns-opt", "An option of resolv.conf."),
    _texts("dns-option", "An option of resolv.conf.", hidden=True),
    _texts("dns-search", "A search domain."),
    _text("domainname", "NIS domain name."),
    _text("entrypoint", "Take this for the image's entrypoint."),
    _texts("env", "An environment variable: NAME=VALUE, or NAME as it is here.", "e"),
    _texts("env-file", "A file of them."),
    _texts("expose", "A port, or a range of them, that others may use."),
    _text("gpus", "GPUs to add: all, or how many."),
    _texts("group-add", "A further group."),
    _text("health-cmd", "Command that tells whether it is well."),
    Flag(name="health-interval", kind=DURATION, summary="Time between two checks (30s)."),
    _text("health-on-failure", "What becomes of one that is not well: none, kill, restart, stop."),
    _number("health-retries", "How many failures make it unhealthy."),
    Flag(name="health-start-interval", kind=DURATION, summary="Time between checks while it starts."),
    Flag(name="health-start-period", kind=DURATION, summary="How long a failure does not count yet."),
    Flag(name="health-timeout", kind=DURATION, summary="How long a check may take (30s)."),
    _text("hostname", "Host name.", "h"),
    Flag(name="init", summary="Run an init that forwards signals and reaps processes."),
    Flag(name="interactive", short="i", summary="Keep stdin open."),
    _text("ip", "IPv4 address: 172.30.100.104"),
    _text("ip6", "IPv6 address."),
    _text("ipc", "IPC mode: private, shareable, host, none, container:NAME."),
    _text("isolation", "Isolation technology.", hidden=True),
    _texts("label", "A label: NAME=VALUE.", "l"),
    _texts("label-file", "A file of them."),
    _texts("link", "A link to another container: NAME[:ALIAS]."),
    _texts("link-local-ip", "A link-local address."),
    _text("log-driver", "Log driver: json-file, local, none."),
    _texts("log-opt", "Option of the log driver: max-size=10m."),
    _text("mac-address", "MAC address."),
    _text("memory", "Memory limit: 512m.", "m"),
    _text("memory-reservation", "Memory that it may keep when memory is short."),
    _text("memory-swap", "Limit of memory and swap together; -1: unlimited swap."),
    Flag(name="memory-swappiness", kind=NUMBER, default=-1, summary="Swappiness, 0 to 100."),
    _texts("mount", "A mount: type=bind,source=PATH,target=PATH[,readonly]…"),
    _text("name", "Its name."),
    _texts("net", "A network.", hidden=True),
    _texts("net-alias", "A further name.", hidden=True),
    _texts("network", "A network, or bridge, host, none, container:NAME."),
    _texts("network-alias", "A further name on the network."),
    Flag(name="no-healthcheck", summary="No check, whatever the image says."),
    Flag(name="oom-kill-disable", summary="Do not kill it when memory ends."),
    _number("oom-score-adj", "How gladly the host kills it, -1000 to 1000."),
    _text("pid", "PID namespace: host, or container:NAME."),
    _number("pids-limit", "How many processes it may have; -1: any number."),
    _text("platform", "os/arch[/variant] of the image."),
    Flag(name="privileged", summary="All capabilities and devices."),
    _texts("publish", "A port on the host: [ADDRESS:]HOST:CONTAINER[/udp].", "p"),
    Flag(name="publish-all", short="P", summary="Publish all exposed ports, at random ones."),
    _text("pull", "Pull the image before: always, missing, never.", default="missing"),
    Flag(name="quiet", short="q", summary="No progress of a pull."),
    Flag(name="read-only", summary="The root file system cannot be written to."),
    _text("restart", "When to start it again: no, on-failure[:N], always, unless-stopped."),
    Flag(name="rm", summary="Remove it when it has ended."),
    _text("runtime", "The OCI runtime: pyrunc, or one that the daemon knows."),
    _texts("security-opt", "seccomp=FILE, apparmor=NAME, no-new-privileges, label=…"),
    _text("shm-size", "Size of /dev/shm."),
    _text("stop-signal", "Signal that stops it."),
    _number("stop-timeout", "Seconds until it is killed by `stop`."),
    _texts("storage-opt", "Option of the storage driver."),
    _texts("sysctl", "A sysctl: NAME=VALUE."),
    _texts("tmpfs", "A tmpfs: PATH[:OPTIONS]."),
    Flag(name="tty", short="t", summary="A terminal."),
    _texts("ulimit", "A limit: NAME=SOFT[:HARD]."),
    _text("user", "User and group: NAME|ID[:GROUP].", "u"),
    _text("userns", "User namespace: host."),
    _text("uts", "UTS namespace: host."),
    _texts("volume", "A volume or directory: [NAME|PATH:]PATH[:OPTIONS].", "v"),
    _text("volume-driver", "Driver of its volumes.", hidden=True),
    _texts("volumes-from", "The volumes of another container."),
    _text("workdir", "Working directory.", "w"),
)

RUN_FLAGS = (
    Flag(name="detach", short="d", summary="Run in the background and print the id."),
    _text("detach-keys", "Keys that leave it running (ctrl-p,ctrl-q)."),
    Flag(name="sig-proxy", default=True, summary="Pass signals on to it."),
)
