# pyrunc. Targets: install uninstall run test test-v2 test-faults test-storm test-fuzz conformance lint clean
#
# Each fetches what it needs and finds missing: Debian packages as root, Python packages into build/ or .venv/.

PREFIX ?= /usr/local
DESTDIR ?=
PYTHON := $(shell tools/find-python)
export PYTHON
ifeq ($(PYTHON),)
$(error no Python)
endif

VERSION := $(shell $(PYTHON) -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV := .venv
VENDOR := build/vendor-$(VERSION)
PRIVATE := $(CURDIR)/build/prefix
HOST_CGROUPS := $(if $(wildcard /sys/fs/cgroup/cgroup.controllers),v2,v1)

.PHONY: install uninstall run test test-v2 test-faults test-storm test-fuzz conformance lint clean private

install: $(VENDOR)/.done
	tools/install $(PYTHON) $(VENDOR) "$(PREFIX)" "$(DESTDIR)"

uninstall:
	rm -rf "$(DESTDIR)$(PREFIX)/lib/pyrunc" "$(DESTDIR)$(PREFIX)/bin/pyrunc" \
	    "$(DESTDIR)$(PREFIX)/bin/containerd-shim-pyrunc-v2" "$(DESTDIR)$(PREFIX)/bin/pyruncd" \
	    "$(DESTDIR)$(PREFIX)/bin/pyr"

# A container that looks around. The last line is the command that runs it again.
run: private
	@tools/need busybox-static
	@$(PYTHON) -I tools/demo-bundle bundle
	@build/prefix/bin/pyrunc run bundle/
	@echo build/prefix/bin/pyrunc run bundle/

# All tests, against a pyrunc that is installed as a user would. More for pytest: make test ARGS='-k mounts'
test: private $(VENV)/.done
	tools/need buildah busybox-static containerd containernetworking-plugins criu curl debootstrap docker-registry iproute2 iptables libdevmapper1.02.1 libseccomp2 nftables openssl podman procps runc skopeo strace uidmap valgrind
	tools/unpack docker.io tini
	PYRUNC_TEST_RUNTIME=$(PRIVATE)/bin/pyrunc $(VENV)/bin/python -m pytest --junitxml build/results-$(HOST_CGROUPS).xml $(ARGS)

# The runtime specification, clause by clause. More for it: make conformance ARGS='--runtime runc --format html'
conformance: private $(VENV)/.done
	@tools/need busybox-static iproute2
	$(VENV)/bin/python -m conformance --runtime $(PRIVATE)/bin/pyrunc $(ARGS)

# The tests that look at cgroups, on machines that have just cgroup v2: with and without systemd, as root and as a
# user. V2VM boots them, which takes an hour where it emulates; `make test` has a short form (tests/machine).
# Verdicts go to build/results-v2.xml, those of `make test` to build/results-v1.xml (v2 where that is the host's).
V2VM ?= ../shared/tools/v2vm/v2vm
ifeq ($(wildcard $(V2VM)),)
test-v2:
	@echo "test-v2: skipped, there is no $(V2VM) here, which would boot a machine with cgroup v2 (set V2VM)"
else
test-v2: private $(VENV)/.done
	tools/need busybox-static containerd criu iproute2 libseccomp2 podman procps runc strace uidmap
	tools/unpack secilc
	$(VENV)/bin/python tools/test-v2 $(V2VM) $(PRIVATE)/bin/pyrunc $(ARGS)
endif

# What takes long: each fault at each of its calls, each known hole opened, hundreds of containers at a time.
test-faults: export PYRUNC_TEST_FAULTS := all
test-faults: export PYRUNC_TEST_WEAKENED := all
test-faults: private $(VENV)/.done
	tools/need busybox-static strace
	PYRUNC_TEST_RUNTIME=$(PRIVATE)/bin/pyrunc $(VENV)/bin/python -m pytest --timeout 7200 tests/security/test_faults.py tests/security/test_crash.py \
	    tests/security/test_crash_of_shim.py tests/security/test_weakened.py

test-storm: export PYRUNC_TEST_STORM := long
test-storm: private $(VENV)/.done
	tools/need busybox-static iproute2 nftables
	PYRUNC_TEST_RUNTIME=$(PRIVATE)/bin/pyrunc $(VENV)/bin/python -m pytest --timeout 7200 tests/security/test_storm.py tests/engine/test_storm.py \
	    tests/callers/test_shim_v2.py::test_one_shim_many_lives

test-fuzz: export PYRUNC_TEST_FUZZ := 8
test-fuzz: private $(VENV)/.done
	tools/need busybox-static
	PYRUNC_TEST_RUNTIME=$(PRIVATE)/bin/pyrunc $(VENV)/bin/python -m pytest --timeout 7200 -rA tests/security/test_fuzz.py

lint: $(VENV)/.done
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

private: $(VENDOR)/.done
	@tools/install $(PYTHON) $(VENDOR) $(PRIVATE) ""

$(VENDOR)/.done: pyproject.toml
	tools/need python$(VERSION)-venv
	rm -rf $(VENDOR) build/pip
	$(PYTHON) -m venv build/pip
	$(PYTHON) -I tools/requirements >build/requirements.txt
	build/pip/bin/pip install --quiet --target $(VENDOR) --requirement build/requirements.txt
	rm -rf $(VENDOR)/bin
	touch $@

$(VENV)/.done: pyproject.toml
	tools/need python$(VERSION)-venv libseccomp2
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf build dist bundle $(VENV)
