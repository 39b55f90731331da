"""buildah calls the runtime, in the foreground and without conmon: `buildah run` and `buildah build`."""

import pytest

IMAGE = "busybox-test"


@pytest.fixture
def box(buildah):
    return buildah.ok("from", IMAGE).strip()


def run(buildah, *words, **how):
    return buildah("run", "--runtime", buildah.runtime, *words, **how)


def test_run(buildah, box):
    done = run(buildah, box, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (3, "out\n", "err")
    assert run(buildah, box, "cat", input="through").stdout == "through"


@pytest.mark.parametrize(
    ("program", "words"), [("/no/such", "no such file or directory"), ("/etc/passwd", "permission denied")]
)
def test_what_does_not_run(buildah, box, program, words):
    done = run(buildah, box, program)
    assert done.returncode != 0
    assert words in done.stderr


def test_on_a_terminal(buildah, box):
    with buildah.on_terminal("run", "--runtime", buildah.runtime, "--tty", box, "sh") as (terminal, process):
        terminal.expect("# ")
        terminal.type("tty; stty size; exit 7\n")
        terminal.expect("/dev/")
        terminal.expect("33 111")
        assert process.wait(30) == 7


def test_what_a_user_sets(buildah, box, work):
    (work / "file").write_text("bound\n")
    options = ("--hostname", "name", "--env", "A=b", "--user", "1000", "--volume", f"{work}:/data:ro")
    done = run(
        buildah, *options, "--cap-drop", "CAP_KILL", box, "sh", "-c",
        "hostname; echo $A; id -u; cat /data/file; touch /data/x 2>&1; grep CapBnd /proc/self/status",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == ["name", "b", "1000", "bound"]
    assert lines[4].endswith("Read-only file system")
    bounding = int(lines[5].split()[1], 16)
    assert bounding and not bounding & 1 << 5


def test_a_build(buildah, work):
    (work / "Containerfile").write_text(
        f"FROM {IMAGE} AS first\nRUN echo made >/file\n"
        f"FROM {IMAGE}\nCOPY --from=first /file /file\n"
        "RUN --mount=type=tmpfs,target=/x touch /x/y && id -u >>/file\n"
        "USER 1000\nRUN id -u >/tmp/user\n"
    )
    buildah.ok("build", "--runtime", buildah.runtime, "--network", "none", "--tag", "made", work, timeout=120)
    made = buildah.ok("from", "made").strip()
    assert run(buildah, made, "cat", "/file", "/tmp/user").stdout == "made\n0\n1000\n"


def test_a_build_that_fails(buildah, work):
    (work / "Containerfile").write_text(f"FROM {IMAGE}\nRUN exit 6\n")
    done = buildah("build", "--runtime", buildah.runtime, "--network", "none", work)
    assert done.returncode != 0
    assert "exit status 6" in done.stderr


def test_by_the_environment(buildah, box):
    """A name that is not there must fail, or the option above would prove nothing."""
    buildah.env["BUILDAH_RUNTIME"] = buildah.runtime
    assert buildah.ok("run", box, "echo", "hello") == "hello\n"
    buildah.env["BUILDAH_RUNTIME"] = "/no/such/runtime"
    assert buildah("run", box, "echo", "hello").returncode != 0
