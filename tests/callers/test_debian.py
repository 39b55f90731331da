"""A real root filesystem: glibc, bash, perl, apt and a long-running server, not only busybox.

debootstrap fetches it once, from where this machine's apt fetches, and it is kept in the user's cache.
Containers have it read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from support.bundle import Bundle
from support.waiting import until

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyrunc-test"

SERVER = r"""
use IO::Socket::INET;
$| = 1;
my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', LocalPort => 0) or die $!;
$SIG{TERM} = sub { print "stopping\n"; exit 4 };
print $listener->sockport, "\n";
while (1) {
    my $client = $listener->accept or next;
    my $request = <$client>;
    my $body = "served by $$ on " . `cat /etc/debian_version`;
    printf $client "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", length $body, $body;
    close $client;
}
"""


def _apt_source() -> tuple[str, str]:
    """Where apt fetches the main archive from, and its release."""
    text = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    targets = {tuple(line.split()) for line in text.splitlines()}
    for source, release, component in sorted(targets):
        if component == "main" and "-" not in release:
            return source, release
    pytest.skip("apt knows no archive here")


@pytest.fixture(scope="session")
def debian() -> Path:
    if shutil.which("debootstrap") is None or shutil.which("apt-get") is None:
        pytest.skip("debootstrap is not installed")
    source, release = _apt_source()
    kept = CACHE / f"debian-{release}"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = CACHE / f"debian-{release}.{os.getpid()}"
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", release, fresh, source], capture_output=True, text=True
        )
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            pytest.skip(f"debootstrap failed: {done.stdout[-300:]}{done.stderr[-300:]}")
        fresh.rename(kept)
    return kept


@pytest.fixture
def bundle(work: Path, debian: Path) -> Bundle:
    made = Bundle(work / "bundle", rootfs=False)
    made.config["root"] = {"path": str(debian), "readonly": True}
    for path in ("/tmp", "/run", "/var/tmp"):
        made.mount(path, "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777")
    made.allow("CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_DAC_OVERRIDE")
    made.process["noNewPrivileges"] = False
    return made


def test_a_login_shell(runtime, bundle):
    script = 'echo "$HOME $SHELLOPTS"; a=(1 2 3); echo ${#a[@]}; diff <(echo x) <(echo x) && echo same'
    done = runtime.run(bundle, "bash", "-lc", script).ok()
    assert done.stdout.splitlines()[0].startswith("/root ")
    assert done.stdout.splitlines()[1:] == ["3", "same"]
    assert done.stderr == ""


def test_the_package_manager(runtime, bundle):
    assert runtime.run(bundle, "apt-get", "--version").ok().stdout.startswith("apt ")
    done = runtime.run(bundle, "dpkg-query", "--show", "--showformat", "${Status}\n", "bash").ok()
    assert done.stdout == "install ok installed\n"


def test_perl(runtime, bundle):
    script = "use POSIX; print join ',', map { $_ * 2 } 1..3; print +(getpwuid $<)[0], ' ', getpid(), qq(\\n)"
    assert runtime.run(bundle, "perl", "-e", script).ok().stdout == "2,4,6root 1\n"


def test_a_pipeline_of_many_processes(runtime, bundle):
    script = "seq 1 2000 | sort -R | sort -n | tail -1; find /usr -name '*.so*' | wc -l | tr -d ' '"
    last, libraries = runtime.run(bundle, "bash", "-c", script).ok().stdout.split()
    assert last == "2000"
    assert int(libraries) > 50


def test_name_services_are_the_images(runtime, bundle):
    done = runtime.run(
        bundle, "bash", "-c", "getent passwd www-data; id -un 1 2>/dev/null; ls -ld /var/mail"
    ).ok()
    assert done.stdout.startswith("www-data:x:33:33:")
    assert " root mail " in done.stdout


def test_another_user(runtime, bundle):
    bundle.process["user"] = {"uid": 33, "gid": 33}
    done = runtime.run(bundle, "bash", "-c", "id -un; echo $HOME; touch /tmp/x && stat -c %U /tmp/x").ok()
    assert done.stdout.split() == ["www-data", "/var/www", "www-data"]


def test_exec_of_several_shells(runtime, bundle):
    runtime.launch(bundle, "sleep", "1000")
    for number in range(3):
        done = runtime.exec(bundle, "bash", "-lc", f"exit $(({number} + $(ls /proc | grep -c '^1$')))")
        assert done.returncode == number + 1


def test_a_server_that_is_stopped_by_a_signal(runtime, bundle):
    bundle.share("network")
    created = runtime.launch(bundle, "perl", "-e", SERVER)
    until(lambda: created.stdout.endswith("\n"), "it listens")
    port = int(created.stdout)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(5):
        with opener.open(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read().startswith(b"served by 1 on ")
    assert runtime.exec(bundle, "bash", "-c", "kill -0 1 && echo alive").ok().stdout == "alive\n"
    runtime.kill(bundle, "TERM").ok()
    runtime.until_status(bundle, "stopped")
    assert created.stdout.endswith("stopping\n")
    runtime.delete(bundle).ok()
