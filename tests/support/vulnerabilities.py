"""Holes that container runtimes have had, each with the tests that show it closed here, and the proof that
those tests could fail: what to take out of pyrunc so that they must (test_weakened does, and looks).

Left out are holes of callers that a runtime cannot have: CVE-2022-23648, CVE-2022-31030 and CVE-2022-2995
(containerd and CRI-O read files of images), those of kernels: CVE-2018-18955, CVE-2022-0185, CVE-2024-1086;
and GHSA-c5pj-mqfh-rvc3, runc's of CVE-2024-3154, which was withdrawn. No hole, but what closing one has
broken: runc#4968, #4972, #5058, for a caller that AppArmor confines (container/test_apparmor.py).
"""

from __future__ import annotations

from pyrunc.record import Record


class Edit(Record):
    """Of a module of pyrunc's: `old`, which occurs there once, becomes `new`."""

    module: str
    old: str
    new: str


class Row(Record):
    """`ids` as they were published. `proof`: what opens the hole. A `race` is lost often enough to be seen,
    but not always."""

    ids: tuple[str, ...]
    tests: tuple[str, ...]
    proof: tuple[Edit, ...]
    race: bool = False


_OPEN = "    return syscall.openat2(root_fd, path, flags, _IN_ROOT, mode)\n"
_BY_NAME = Edit(
    module="kernel/paths.py",
    old=_OPEN,
    new='    return posix.open(path.lstrip("/") or ".", flags | posix.O_CLOEXEC, dir_fd=root_fd)\n',
)
_NO_STRICT = Edit(
    module="child/rootfs.py",
    old="RESOLVE_NO_SYMLINKS if strict else",
    new="RESOLVE_NO_SYMLINKS if not path else",
)
_INHERITED = Edit(
    module="runtime/exec.py",
    old="        ambient=base.ambient + ambient,\n",
    new="        ambient=base.ambient + ambient,\n        inheritable=base.inheritable + wanted,\n",
)

ROWS = (
    Row(
        ids=("CVE-2016-3697", "GHSA-q3j5-32m5-58c2"),
        tests=("container/test_exec.py::test_a_number_is_never_looked_up_as_a_name",),
        proof=(
            Edit(
                module="runtime/exec.py",
                old="    return int(text)\n",
                new="    return int(text) % 1000\n",
            ),
        ),
    ),
    Row(
        ids=("CVE-2016-8867",),
        tests=("container/test_process.py::test_a_user_without_ambient_capabilities_has_none",),
        proof=(
            Edit(
                module="plan/process.py",
                old="        inheritable=inheritable,\n"
                "        ambient=_mask(wanted.ambient, grantable) & permitted & inheritable,\n",
                new="        inheritable=permitted,\n        ambient=permitted,\n",
            ),
        ),
    ),
    Row(
        ids=("CVE-2016-9962",),
        tests=("container/test_exec.py::test_it_cannot_be_traced_by_the_container_before_it_is_confined",),
        proof=(
            Edit(
                module="child/process.py",
                old="    syscall.prctl(c.PR_SET_DUMPABLE, int(op.value))\n",
                new='    posix.open("/sys/fs/cgroup", posix.O_RDONLY)\n',
            ),
        ),
        race=True,
    ),
    Row(
        ids=("CVE-2019-5736", "GHSA-gxmr-w5mj-v8hh"),
        tests=("security/test_attacks.py::test_the_runtimes_executable_cannot_be_opened_for_writing",),
        proof=(
            Edit(
                module="runtime/exeseal.py",
                old="    if is_sealed():\n        return\n",
                new="    if True:\n        return\n",
            ),
        ),
        race=True,
    ),
    Row(
        ids=("CVE-2019-14271",),
        tests=("container/test_surroundings.py::test_code_in_the_image_is_not_run",),
        proof=(
            Edit(
                module="child/rootfs.py",
                old='    syscall.umount2(".", c.MNT_DETACH)\n    posix.chdir("/")\n\n\ndef move_root',
                new=(
                    '    syscall.umount2(".", c.MNT_DETACH)\n    posix.chdir("/")\n'
                    "    exec(open('/usr/lib/python3.11/pwd.py').read())\n\n\ndef move_root"
                ),
            ),
        ),
    ),
    Row(
        ids=("CVE-2019-16884", "GHSA-fgv8-vj5c-2ppq"),
        tests=("container/test_mounts.py::test_nothing_is_mounted_below_proc",),
        proof=(
            Edit(
                module="child/rootfs.py",
                old="    if not may_cover_proc and here.st_dev not in child.ordinary:\n",
                new="    if False:\n",
            ),
        ),
    ),
    Row(
        ids=("CVE-2019-18837",),
        tests=("security/test_rootfs.py::test_an_absolute_link_in_the_image_stays_inside",),
        proof=(_BY_NAME,),
    ),
    Row(
        ids=(
            "CVE-2019-19921",
            "GHSA-fh74-hm69-rqjw",
            "CVE-2023-27561",
            "GHSA-vpvm-3wq2-2wvm",
            "CVE-2023-28642",
            "GHSA-g2j6-57v7-gm8c",
            "CVE-2025-54867",
            "GHSA-j26p-6wx7-f3pw",
        ),
        tests=(
            "container/test_mounts.py::test_proc_and_sys_must_be_ordinary_directories",
            "security/test_rootfs.py::test_proc_and_sys_of_the_image_are_no_links",
        ),
        proof=(_NO_STRICT,),
    ),
    Row(
        ids=(
            "CVE-2021-30465",
            "GHSA-c3xm-pvg7-gh7r",
            "CVE-2024-45310",
            "GHSA-jfvp-7x6p-h2pv",
            "CVE-2018-15664",
        ),
        tests=(
            "security/test_attacks.py::test_a_destination_that_changes_under_the_runtime",
            "security/test_attacks.py::test_a_working_directory_that_is_made_while_it_changes",
        ),
        proof=(_BY_NAME,),
        race=True,
    ),
    Row(
        ids=("CVE-2021-43784", "GHSA-v95c-p5hm-xq8f"),
        tests=(
            "security/test_rootfs.py::test_what_is_longer_than_a_message_is_an_error_or_arrives",
            "security/test_rootfs.py::test_more_mappings_than_the_kernel_takes_are_an_error",
        ),
        proof=(
            Edit(
                module="oci/config.py",
                old='        env=node.texts("env"),\n',
                new='        env=tuple(text[: len(text) & 0xFFFF] for text in node.texts("env")),\n',
            ),
        ),
    ),
    Row(
        ids=(
            "CVE-2022-24769",
            "CVE-2022-29162",
            "GHSA-f3fp-gc8g-vw66",
            "CVE-2022-27650",
            "GHSA-wr4f-w546-m398",
            "CVE-2025-27612",
            "GHSA-5w4j-f78p-4wh9",
        ),
        tests=("container/test_exec.py::test_capabilities_are_added_but_never_inheritable",),
        proof=(_INHERITED,),
    ),
    Row(
        ids=("CVE-2023-25809", "GHSA-m8cg-xc2p-r3fc"),
        tests=(
            "security/test_rootfs.py::test_cgroups_are_readonly_without_a_cgroup_namespace",
            "unit/plan/test_cgroupmounts.py",
        ),
        proof=(
            Edit(
                module="plan/cgroupmounts.py",
                old="    if flags & c.MS_RDONLY:\n        finish.append(",
                new="    if flags & c.MS_SYNCHRONOUS:\n        finish.append(",
            ),
            Edit(
                module="plan/cgroupmounts.py",
                old="    readonly = c.MOUNT_ATTR_RDONLY if flags & c.MS_RDONLY else 0\n",
                new="    readonly, flags = 0, flags & ~c.MS_RDONLY\n",
            ),
        ),
    ),
    Row(
        ids=("CVE-2024-21626", "GHSA-xr7r-f8xq-vfvv"),
        tests=("security/test_rootfs.py::test_a_process_has_no_descriptors_but_its_streams",),
        proof=(
            Edit(
                module="child/process.py",
                old="    syscall.close_range(rest, 0xFFFF_FFFF, c.CLOSE_RANGE_CLOEXEC)\n",
                new='    posix.dup2(posix.open("/", posix.O_RDONLY), 20)\n',
            ),
        ),
    ),
    Row(
        ids=("CVE-2024-21626", "GHSA-xr7r-f8xq-vfvv"),
        tests=(
            "container/test_process.py::test_a_descriptor_of_the_runtime_is_no_way_out",
            "security/test_rootfs.py::test_no_descriptor_of_the_runtime_is_entered_by_exec",
        ),
        proof=(
            Edit(
                module="child/process.py",
                old="    signals.reset_for_exec()\n",
                new='    signals.reset_for_exec()\n    posix.dup2(posix.open("/", posix.O_RDONLY), 63)\n',
            ),
            Edit(
                module="child/process.py",
                old='    if not here.startswith("/"):\n',
                new='    if op.path == "/nowhere":\n',
            ),
            Edit(
                module="child/process.py",
                old="    try:\n        here = posix.getcwd()\n    except FileNotFoundError:\n"
                '        raise OSError(ops.OUTSIDE_ROOT, "getcwd", op.path) from None\n',
                new="",
            ),
        ),
    ),
    Row(
        ids=("CVE-2022-0492",),
        tests=("container/test_mounts.py::test_the_cgroup_mounts_are_readonly",),
        proof=(
            Edit(
                module="plan/cgroupmounts.py",
                old="    if flags & c.MS_RDONLY:\n        finish.append(",
                new="    if flags & c.MS_SYNCHRONOUS:\n        finish.append(",
            ),
            Edit(
                module="plan/cgroupmounts.py",
                old="    readonly = c.MOUNT_ATTR_RDONLY if flags & c.MS_RDONLY else 0\n",
                new="    readonly, flags = 0, flags & ~c.MS_RDONLY\n",
            ),
        ),
    ),
    Row(
        ids=("CVE-2022-0811",),
        tests=("container/test_process.py::test_a_value_cannot_smuggle_another_setting",),
        proof=(
            Edit(
                module="child/rootfs.py",
                old='    write_file(f"/proc/sys/{op.path}", op.value)\n',
                new='    write_file(f"/proc/sys/{op.path}", op.value.split("+")[0])\n',
            ),
        ),
    ),
    Row(
        ids=("CVE-2024-3154", "GHSA-2cgq-h8xw-2v5j"),
        tests=("unit/plan/test_systemd.py", "container/test_systemd.py"),
        proof=(
            Edit(
                module="plan/annotations.py",
                old="    if len(name) < _SHORTEST_NAME or not (name.isascii() and name.isalpha()):\n",
                new="    if not name:\n",
            ),
        ),
    ),
    Row(
        ids=("CVE-2025-31133", "GHSA-9493-h29p-rfm2", "CVE-2025-62161", "GHSA-4g74-7cff-xcv8"),
        tests=(
            "container/test_masks.py::test_a_false_null_device_masks_nothing_and_is_not_exposed",
            "security/test_rootfs.py::test_a_false_null_device_in_a_dev_of_the_hosts",
        ),
        proof=(
            Edit(
                module="child/rootfs.py",
                old='posix.open("/dev/null", c.O_PATH | posix.O_CLOEXEC)\n'
                "            if not is_null(child.saved[_MASK]):\n"
                '                raise OSError(ops.NOT_A_DEVICE, "open", "/dev/null")\n',
                new='paths.open_inside(child.root, "/dev/null")\n',
            ),
        ),
    ),
    Row(
        ids=("CVE-2025-52565", "GHSA-qw9x-cqr3-wc7r"),
        tests=(
            "security/test_rootfs.py::test_a_terminal_of_a_dev_that_changes_under_the_runtime",
            "container/test_console.py::test_a_link_of_the_image_does_not_lead_the_console_elsewhere",
        ),
        proof=(_BY_NAME,),
        race=True,
    ),
    Row(
        ids=("CVE-2025-52881", "GHSA-cgrx-mc8f-2prm", "CVE-2025-62596", "GHSA-vf95-55w6-qmrf"),
        tests=("security/test_rootfs.py::test_a_proc_that_changes_under_the_runtime",),
        proof=(
            Edit(
                module="child/rootfs.py",
                old="def write_sysctl(op: makeops.WriteSysctl, _child: Child) -> None:\n",
                new="def write_sysctl(op: makeops.WriteSysctl, child: Child) -> None:\n"
                '    fd = posix.open(f"proc/sys/{op.path}", posix.O_WRONLY, dir_fd=child.root)\n'
                "    posix.write(fd, op.value.encode())\n"
                "    return\n",
            ),
        ),
        race=True,
    ),
    Row(
        ids=("GHSA-3q8j-pf29-vwv8",),
        tests=("security/test_attacks.py::test_a_masked_path_that_changes_under_the_runtime",),
        proof=(
            _BY_NAME,
            Edit(
                module="child/rootfs.py",
                old="    syscall.mount_setattr(tree, recursive=True, attr_set=c.MOUNT_ATTR_RDONLY)\n"
                "    syscall.move_mount(tree, target)\n",
                new="    syscall.move_mount(tree, paths.open_link_itself(child.root, op.path))\n",
            ),
        ),
        race=True,
    ),
    Row(
        ids=("CVE-2025-24965", "GHSA-f42g-r5jj-qh4j"),
        tests=("security/test_rootfs.py::test_a_file_that_is_made_for_a_mount_is_made_inside",),
        proof=(
            Edit(
                module="kernel/paths.py",
                old="return open_inside(root_fd, path) if follow else open_link_itself(root_fd, path)\n",
                new="return posix.open(path[1:], posix.O_CREAT | posix.O_CLOEXEC, dir_fd=root_fd)\n",
            ),
        ),
    ),
    Row(
        ids=("CVE-2026-30892", "GHSA-4vg2-xjqj-7chj"),
        tests=("container/test_exec.py::test_a_user_that_is_no_number_is_never_root",),
        proof=(
            Edit(
                module="runtime/exec.py",
                old="    if not (text.isascii() and text.isdigit()) or int(text) > _LAST_ID:\n",
                new="    if not text.isdigit():\n        return 0\n    if int(text) > _LAST_ID:\n",
            ),
        ),
    ),
    Row(
        ids=("CVE-2026-46680",),
        tests=("container/test_process.py::test_a_user_out_of_range",),
        proof=(
            Edit(
                module="oci/processrules.py",
                old="        if number > LAST_ID:\n",
                new="        if number > 2 * LAST_ID:\n",
            ),
        ),
    ),
    Row(
        ids=("CVE-2026-41579", "GHSA-xjvp-4fhw-gc47", "CVE-2026-47766"),
        tests=(
            "container/test_devices.py::test_a_dev_that_is_a_link_cannot_harm_what_it_leads_to",
            "security/test_attacks.py::test_a_device_that_changes_under_the_runtime",
        ),
        proof=(_BY_NAME,),
    ),
)
