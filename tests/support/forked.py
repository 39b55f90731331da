"""A function in a process of its own, in new namespaces: what it does to them is gone with it."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any

from pyrunc.kernel import const, syscall


def run_apart(function: Callable[[], Any], flags: int = const.CLONE_NEWNS) -> Any:
    """What `function` returns. What it raises fails the test here, with its traceback. A new mount namespace
    shares nothing with the host's."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        outcome: tuple[bool, Any] = (False, "it ended without a word")
        try:
            syscall.unshare(flags)
            if flags & const.CLONE_NEWNS:
                syscall.mount("", "/", "", const.MS_PRIVATE | const.MS_REC, "")
            outcome = (True, function())
        except BaseException:
            outcome = (False, traceback.format_exc())
        finally:
            os.write(write, pickle.dumps(outcome))
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        fine, result = pickle.load(answer)
    os.waitpid(pid, 0)
    assert fine, result
    return result
