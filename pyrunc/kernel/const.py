"""Numbers of the Linux ABI and nothing but. Sources: the uapi headers of Linux 6.18."""

from __future__ import annotations

# clone(2), clone3(2), setns(2)
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000

# mount(2), umount2(2)
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SILENT = 0x8000
MS_POSIXACL = 0x10000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_I_VERSION = 0x800000
MS_STRICTATIME = 0x1000000
MS_LAZYTIME = 0x2000000
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

# mount_setattr(2), open_tree(2), move_mount(2)
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000
OPEN_TREE_CLONE = 1
FSOPEN_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
FSMOUNT_CLOEXEC = 1
OPEN_TREE_CLOEXEC = 0x80000
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40

# *at(2), openat2(2)
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EACCESS = 0x200
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
RESOLVE_NO_XDEV = 0x1
RESOLVE_NO_MAGICLINKS = 0x2
RESOLVE_NO_SYMLINKS = 0x4
RESOLVE_BENEATH = 0x8
RESOLVE_IN_ROOT = 0x10
O_PATH = 0x200000

# statfs(2)
PROC_SUPER_MAGIC = 0x9FA0
SYSFS_MAGIC = 0x62656572
DEVPTS_SUPER_MAGIC = 0x1CD1

# prctl(2)
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NAME = 15
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

LINUX_CAPABILITY_VERSION_3 = 0x20080522

# keyctl(2)
KEYCTL_JOIN_SESSION_KEYRING = 1
KEYCTL_SETPERM = 5
KEYCTL_DESCRIBE = 6

# seccomp(2)
SECCOMP_SET_MODE_FILTER = 1

# fcntl(2)
F_SETFD = 2
F_DUPFD_CLOEXEC = 1030
F_ADD_SEALS = 1033
F_SEAL_SEAL = 0x1
F_SEAL_SHRINK = 0x2
F_SEAL_GROW = 0x4
F_SEAL_WRITE = 0x8
FD_CLOEXEC = 1
O_CLOEXEC = 0x80000
O_WRONLY = 1
MFD_CLOEXEC = 1
MFD_ALLOW_SEALING = 2
MFD_EXEC = 0x10
CLOSE_RANGE_CLOEXEC = 4

# prlimit(2)
RLIMIT_MEMLOCK = 8
RLIM_INFINITY = 0xFFFF_FFFF_FFFF_FFFF

# sched_setattr(2): policies and flags, by the names that they have in config.json
SCHED_POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHED_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}

# ioprio_set(2)
IOPRIO_WHO_PROCESS = 1
IOPRIO_CLASS_SHIFT = 13
IOPRIO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}

# personality(2)
PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}

# set_mempolicy(2)
MEMORY_POLICIES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_POLICY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}

# ioctl(2)
TCGETS = 0x5401
TCSETS = 0x5402
TIOCSCTTY = 0x540E
TIOCSPGRP = 0x5410
TIOCGWINSZ = 0x5413
TIOCSWINSZ = 0x5414
TIOCSPTLCK = 0x40045431
TIOCGPTN = 0x80045430
TIOCGPTPEER = 0x5441
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
NS_GET_NSTYPE = 0xB703

# sockets
AF_UNIX = 1
AF_INET = 2
SOCK_STREAM = 1
SOCK_DGRAM = 2
SOCK_SEQPACKET = 5
SOCK_CLOEXEC = 0x80000
SOCK_NONBLOCK = 0x800
SOL_SOCKET = 1
SO_PEERCRED = 17
SCM_RIGHTS = 1
MSG_NOSIGNAL = 0x4000
MSG_PEEK, MSG_TRUNC = 0x2, 0x20
MSG_CMSG_CLOEXEC = 0x40000000

# inotify(7)
IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x2, 0x80, 0x100

# System call numbers. Those from 424 on are the same everywhere; aarch64's older ones are those of
# asm-generic, which riscv64 and loongarch64 share.
_COMMON = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "faccessat2": 439,
    "mount_setattr": 442,
}
_GENERIC = {
    **_COMMON,
    "dup3": 24,
    "inotify_init1": 26,
    "inotify_add_watch": 27,
    "signalfd4": 74,
    "kill": 129,
    "rt_sigaction": 134,
    "rt_sigprocmask": 135,
    "rt_sigtimedwait": 137,
    "setpgid": 154,
    "fcntl": 25,
    "ioprio_set": 30,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "fchmod": 52,
    "close": 57,
    "read": 63,
    "write": 64,
    "exit_group": 94,
    "unshare": 97,
    "capget": 90,
    "capset": 91,
    "personality": 92,
    "sched_setaffinity": 122,
    "setgid": 144,
    "setuid": 146,
    "setresuid": 147,
    "setresgid": 149,
    "setfsuid": 151,
    "setfsgid": 152,
    "setgroups": 159,
    "sethostname": 161,
    "setdomainname": 162,
    "prctl": 167,
    "socket": 198,
    "socketpair": 199,
    "bind": 200,
    "listen": 201,
    "accept4": 242,
    "connect": 203,
    "shutdown": 210,
    "getsockopt": 209,
    "sendto": 206,
    "sendmsg": 211,
    "recvmsg": 212,
    "keyctl": 219,
    "madvise": 233,
    "clone": 220,
    "execve": 221,
    "mmap": 222,
    "wait4": 260,
    "set_mempolicy": 237,
    "prlimit64": 261,
    "setns": 268,
    "sched_setattr": 274,
    "seccomp": 277,
    "memfd_create": 279,
    "bpf": 280,
    "execveat": 281,
    "fstatfs": 44,
    "chdir": 49,
    "openat": 56,
    "ioctl": 29,
}
SYSCALLS = {
    "x86_64": {
        **_COMMON,
        "read": 0,
        "write": 1,
        "close": 3,
        "mmap": 9,
        "rt_sigaction": 13,
        "rt_sigprocmask": 14,
        "ioctl": 16,
        "madvise": 28,
        "socket": 41,
        "connect": 42,
        "sendto": 44,
        "sendmsg": 46,
        "recvmsg": 47,
        "shutdown": 48,
        "bind": 49,
        "listen": 50,
        "socketpair": 53,
        "getsockopt": 55,
        "clone": 56,
        "execve": 59,
        "wait4": 61,
        "kill": 62,
        "fcntl": 72,
        "chdir": 80,
        "fchmod": 91,
        "setuid": 105,
        "setgid": 106,
        "setgroups": 116,
        "setresuid": 117,
        "setpgid": 109,
        "setresgid": 119,
        "setfsuid": 122,
        "setfsgid": 123,
        "capget": 125,
        "capset": 126,
        "rt_sigtimedwait": 128,
        "personality": 135,
        "fstatfs": 138,
        "pivot_root": 155,
        "prctl": 157,
        "mount": 165,
        "umount2": 166,
        "sethostname": 170,
        "setdomainname": 171,
        "sched_setaffinity": 203,
        "exit_group": 231,
        "set_mempolicy": 238,
        "keyctl": 250,
        "ioprio_set": 251,
        "inotify_add_watch": 254,
        "openat": 257,
        "unshare": 272,
        "accept4": 288,
        "signalfd4": 289,
        "dup3": 292,
        "inotify_init1": 294,
        "prlimit64": 302,
        "setns": 308,
        "sched_setattr": 314,
        "seccomp": 317,
        "memfd_create": 319,
        "bpf": 321,
        "execveat": 322,
    },
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
}
