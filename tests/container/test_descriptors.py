"""--preserve-fds, LISTEN_FDS, --pidfd-socket, and that nothing else is passed on."""

import array
import os
import socket

import pytest
from support.marks import deviation

LIST = ("ls", "/proc/self/fd")


@pytest.fixture
def caller(work):
    """A prefix that runs a command with these descriptors open, each on a file with its number."""

    def make(*numbers):
        for number in numbers:
            (work / f"fd{number}").write_text(str(number))
        return ("bash", "-c", " ".join(["exec", *(f"{n}<{work}/fd{n}" for n in numbers), '"$@"']), "bash")

    return make


def fds(done):
    """What ls saw, without its own."""
    return [int(word) for word in done.ok().stdout.split()][:-1]


@pytest.mark.parametrize(("open_fds", "preserve", "expected"), [
    ((3, 4, 5), 0, [0, 1, 2]), ((3, 4, 5), 1, [0, 1, 2, 3]), ((3, 4, 5, 9), 3, [0, 1, 2, 3, 4, 5]),
])  # fmt: skip
def test_preserved_descriptors(runtime, bundle, caller, open_fds, preserve, expected):
    for verb in ("run", "create"):
        options = ("--preserve-fds", preserve)
        if verb == "run":
            done = runtime.run(bundle, *LIST, options=options, prefix=caller(*open_fds))
        else:
            done = runtime.launch(bundle, *LIST, options=options, prefix=caller(*open_fds))
            runtime.until_status(bundle, "stopped")
        assert fds(done) == expected


def test_a_preserved_descriptor_keeps_its_number_and_its_file(runtime, bundle, caller):
    done = runtime.run(
        bundle, "sh", "-c", "cat <&3; cat <&4", options=("--preserve-fds", "2"), prefix=caller(3, 4, 5)
    ).ok()
    assert done.stdout == "34"


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize(
    "number", [pytest.param(2, marks=deviation("runc", reason="takes its own for the caller's")), 40]
)
def test_a_preserved_descriptor_that_is_not_open(runtime, bundle, caller, verb, number):
    options = ("--preserve-fds", number)
    if verb == "run":
        done = runtime.run(bundle, *LIST, options=options, prefix=caller(3))
    else:
        runtime.launch(bundle, "sleep", "1000")
        done = runtime.exec(bundle, *LIST, options=options, prefix=caller(3))
    done.failed("preserved-fd", status=1 if verb == "run" else 255)


@pytest.mark.parametrize("verb", ["run", "create"])
def test_socket_activation(runtime, bundle, caller, verb):
    """LISTEN_FDS descriptors come first, then those of --preserve-fds; PID 1 is who they are for."""
    script = "echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; cat <&5; ls /proc/self/fd"
    # bash sets LISTEN_PID to its own pid, which exec keeps: as a service manager does
    *shell, name = caller(3, 4, 5, 6)
    shell[2] = "export LISTEN_FDS=2 LISTEN_PID=$$; " + shell[2]
    how = {"options": ("--preserve-fds", "1"), "prefix": (*shell, name)}
    if verb == "run":
        done = runtime.run(bundle, "sh", "-c", script, **how).ok()
    else:
        done = runtime.launch(bundle, "sh", "-c", script, **how)
        runtime.until_status(bundle, "stopped")
    first, rest = done.stdout.split("\n", 1)
    assert first == "2 1"
    assert rest.startswith("345")
    assert rest[3:].split() == ["0", "1", "2", "3", "4", "5", "6"]


def test_no_socket_activation_without_asking(runtime, bundle):
    env = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
    assert runtime.run(bundle, "sh", "-c", "echo ${LISTEN_FDS:-none}", env=env).ok().stdout == "none\n"


@pytest.mark.parametrize("verb", ["create", "exec"])
@deviation("runc", reason="has no --pidfd-socket", before="1.2")
def test_pidfd_socket(runtime, bundle, work, verb):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(work / "pidfd.sock"))
        listener.listen(1)
        listener.settimeout(30)
        options = ("--pidfd-socket", work / "pidfd.sock")
        if verb == "create":
            runtime.create(bundle, "sleep", "1000", options=options).ok()
            expected, payload = runtime.pid(bundle), b"standard"
        else:
            runtime.launch(bundle, "sleep", "1000")
            options = (*options, "--detach", "--pid-file", work / "pid")
            runtime.exec(bundle, "sleep", "1000", options=options).ok()
            expected, payload = int((work / "pid").read_text()), b"setns"
        connection, _ = listener.accept()
        with connection:
            received = array.array("i")
            data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
            for _, _, content in ancillary:
                received.frombytes(content)
    (pidfd,) = received
    try:
        with open(f"/proc/self/fdinfo/{pidfd}") as info:
            found = dict(line.split(":\t") for line in info.read().splitlines())
        assert int(found["Pid"]) == expected
        assert data.rstrip(b"\0") == payload
    finally:
        os.close(pidfd)
