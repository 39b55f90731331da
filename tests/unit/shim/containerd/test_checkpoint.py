"""shim.containerd.checkpoint: options of a message, as words."""

import pytest

from pyrunc.errors import PyruncError
from pyrunc.shim.containerd import messages
from pyrunc.shim.containerd.checkpoint import checkpoint_words, restore_words
from pyrunc.shim.containerd.options import Options


def wrapped(**fields):
    return messages.wrap(
        "containerd.runc.v1.CheckpointOptions", messages.encode(messages.CHECKPOINT_OPTIONS, fields)
    )


def old(**fields):
    data = messages.encode(messages.OLD_CHECKPOINT_OPTIONS, fields)
    return messages.wrap(messages.OLD_CHECKPOINT_OPTIONS_TYPE, data)


@pytest.mark.parametrize(
    ("given", "path", "options", "words"),
    [
        (None, "/i", Options(), "--image-path /i --leave-running"),
        (wrapped(exit=True), "/i", Options(), "--image-path /i"),
        (wrapped(image_path="/i", work_path="/w", exit=True), "", Options(),
         "--image-path /i --work-path /w"),
        (old(image_path="/i", work_path="/w", exit=True), "", Options(), "--image-path /i --work-path /w"),
        (wrapped(exit=True), "", Options(criu_image_path="/i", criu_work_path="/w"),
         "--image-path /i --work-path /w"),
        (wrapped(exit=True, open_tcp=True, external_unix_sockets=True, terminal=True, file_locks=True), "/i",
         Options(), "--image-path /i --tcp-established --ext-unix-sk --shell-job --file-locks"),
        (wrapped(exit=True, cgroups_mode="full", empty_namespaces=("network",)), "/i", Options(),
         "--image-path /i --manage-cgroups-mode full --empty-ns network"),
    ],
)  # fmt: skip
def test_checkpoint(given, path, options, words):
    assert " ".join(checkpoint_words(given, path, options)) == f"checkpoint {words}"


@pytest.mark.parametrize(
    ("given", "path", "said"),
    [
        (None, "", "needs a path"),
        (wrapped(cgroups_mode="odd"), "/i", "cgroups mode"),
        ({"type_url": "", "value": b"\xff"}, "/i", "malformed"),
    ],
)
def test_what_is_refused(given, path, said):
    with pytest.raises(PyruncError, match=said):
        checkpoint_words(given, path, Options())


def test_restore():
    assert restore_words("/b", "/i", Options(criu_work_path="/w", no_pivot_root=True)) == (
        "--bundle", "/b", "--image-path", "/i", "--work-path", "/w", "--no-pivot",
    )  # fmt: skip
