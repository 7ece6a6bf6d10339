"""Ways for a process to give up rights before it runs a stranger's code.

Each is a promise that the kernel keeps, and none can be taken back. The module imports the
standard library only: a process calls it before anything else is there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2

# linux/landlock.h: rights that change something, by the version that brought them.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITES = {1: (1, *range(4, 13)), 2: (13,), 3: (14,)}
_WRITE_FILE, _TCP, _SOCKETS_AND_SIGNALS = 1 << 1, 0b11, 0b11

# Calls that reach other processes, the network or a file's owner and mode (x86-64, ARM 64).
_DENIED = {
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_writev": (311, 271),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "setns": (308, 268),
    "unshare": (272, 97),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
_MACHINES = {"x86_64": (0, 0xC000003E, 56, 234), "aarch64": (1, 0xC00000B7, 220, 131)}
_CLONE3, _CLONE_THREAD = 435, 0x10000

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _HAS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CALL, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def set_limits(memory: int, processor_seconds: int) -> None:
    """Limit address space (bytes) and processor time; no file can grow, no core is dumped."""
    for limit, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, processor_seconds, processor_seconds + 5),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(limit, (soft, hard))


def end_with_parent(parent: int) -> None:
    """End this process as soon as the thread that started it ends, whatever it does then."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)


def close_off(folder: str | None = None) -> tuple[str, ...]:
    """Give up files (but reading), the network and other processes, as far as the kernel can.

    After it nothing outside `folder` can be created, written, renamed, deleted or given
    another mode, no socket can be opened, and no process can be started or signalled. To be
    called while the process has one thread.

    Parameters
    ----------
    folder : str, optional
        Where files may still be made; nowhere when not given.

    Returns
    -------
    tuple of str
        What the kernel refused, of ``"privileges"``, ``"files"`` and ``"calls"``; empty where
        all holds.
    """
    if sys.platform != "linux" or _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return "privileges", "files", "calls"
    held = {
        "privileges": _drop_privileges(),
        "files": _close_files(folder),
        "calls": _close_calls(),
    }
    return tuple(name for name, holds in held.items() if not holds)


def _drop_privileges() -> bool:
    """Leave root nothing but reading."""
    if os.geteuid() != 0:
        return True
    reads = 1 << 2  # CAP_DAC_READ_SEARCH
    header = struct.pack("=Ii", 0x20080522, 0)
    for kept in (reads, 0):  # who has not even that keeps nothing
        if _libc.capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0)) == 0:
            return True
    return False


def _close_files(folder: str | None) -> bool:
    """Deny changes of the file system by Landlock; TCP and signals where it knows them."""
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    bits = [bit for since, new in _WRITES.items() if version >= since for bit in new]
    writes = sum(1 << bit for bit in bits)
    rules = struct.pack("=Q", writes)
    if version >= 4:
        rules += struct.pack("=Q", _TCP)
    if version >= 6:
        rules += struct.pack("=Q", _SOCKETS_AND_SIGNALS)
    ruleset = _libc.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    if ruleset < 0:
        return False
    for path, allowed in ((os.devnull, _WRITE_FILE), (folder, writes)):
        if path is not None:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            _libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, place), 0)
            os.close(place)
    held: bool = _libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return held


def _close_calls() -> bool:
    """Deny the calls of `_DENIED` by seccomp, and processes; threads are left."""
    if platform.machine() not in _MACHINES:
        return False
    column, machine, clone, tgkill = _MACHINES[platform.machine()]
    denied, unknown = _ERROR | errno.EPERM, _ERROR | errno.ENOSYS
    program = [
        (_LOAD, 0, 0, _MACHINE),
        *((_EQUAL, 1, 0, machine), (_RETURN, 0, 0, denied)),
        (_LOAD, 0, 0, _CALL),
        *((_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, denied)),  # x32
    ]
    for numbers in _DENIED.values():
        if (number := numbers[column]) is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, denied)]
    # The C library asks for clone3 first; of clone alone are the flags readable here.
    program += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, unknown)]
    for call, test, value in ((clone, _HAS, _CLONE_THREAD), (tgkill, _EQUAL, os.getpid())):
        program += [
            (_EQUAL, 0, 4, call),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (test, 0, 1, value),
            *((_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, denied)),
        ]
    program += [(_RETURN, 0, 0, _ALLOW)]
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    held: bool = _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, filter_, 0, 0) == 0
    return held
