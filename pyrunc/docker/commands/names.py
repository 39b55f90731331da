"""pyr commit, tag, rmi: images and their names."""

from __future__ import annotations

from pyrunc.docker.commands.verbs import for_each
from pyrunc.docker.filters import qualify, split_reference
from pyrunc.docker.output import line
from pyrunc.docker.words import Verb
from pyrunc.errors import NOT_FOUND, PyruncError
from pyrunc.options import TEXT, TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

COMMIT = Verb(
    name="commit",
    summary="Make an image of what a container has changed.",
    usage="[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    least=1,
    most=2,
    flags=(
        Flag(name="author", short="a", kind=TEXT, summary="Who made it."),
        Flag(name="change", short="c", kind=TEXTS, summary="An instruction of a Dockerfile."),
        Flag(name="message", short="m", kind=TEXT, summary="A comment for its history."),
        Flag(name="pause", short="p", default=True, summary="Pause the container meanwhile."),
    ),
)
TAG = Verb(
    name="tag", summary="Give an image a further name.", usage="SOURCE[:TAG] TARGET[:TAG]", least=2, most=2
)
RMI = Verb(
    name="rmi",
    summary="Remove images.",
    usage="[OPTIONS] IMAGE [IMAGE...]",
    least=1,
    most=-1,
    flags=(
        Flag(name="force", short="f", summary="Also if it has further names, or containers that ended."),
        Flag(name="no-prune", summary="Leave parents without a name."),
        Flag(name="platform", kind=TEXT, hidden=True, summary="os/arch[/variant]."),
    ),
)


def commit(session: Session, given: dict[str, Any]) -> int:
    container, *names = given["words"]
    repository, tag = split_reference(names[0]) if names else ("", "")
    query = {
        "container": container,
        "repo": qualify(repository) if repository else None,
        "tag": tag or None,
        "author": given["author"] or None,
        "comment": given["message"] or None,
        "changes": given["change"],
        "pause": None if given["pause"] else "0",
    }
    line(session.post("/commit", query=query, body={})["Id"])
    return 0


def tag(session: Session, given: dict[str, Any]) -> int:
    source, target = given["words"]
    repository, name = split_reference(target)
    session.post(f"/images/{source}/tag", query={"repo": qualify(repository), "tag": name or "latest"})
    return 0


def remove(session: Session, given: dict[str, Any]) -> int:
    query = {"force": given["force"], "noprune": given["no-prune"]}

    def one(name: str) -> Any:
        try:
            return session.delete(f"/images/{name}", query=query)
        except PyruncError as error:
            if given["force"] and error.kind == NOT_FOUND:
                return []
            raise

    return for_each(given["words"], one, lambda _, answer: removed_lines(answer))


def removed_lines(removed: list[dict[str, str]] | None) -> str:
    """Untagged: …, Deleted: …: a line each."""
    return "\n".join(f"{action}: {name}" for one in removed or () for action, name in one.items())


COMMANDS = {"commit": (COMMIT, commit), "tag": (TAG, tag), "rmi": (RMI, remove)}
