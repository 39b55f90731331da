"""validate: all that is wrong with a bundle, not only what `create` would stumble over first."""

from __future__ import annotations

from pyrunc.errors import PyruncError
from pyrunc.linux.facts import probe
from pyrunc.oci.validate import find_problems
from pyrunc.record import Record
from pyrunc.runtime import bundle
from pyrunc.runtime.rulefacts import rule_facts


class Finding(Record):
    """`pointer` is a JSON pointer into config.json, or a path."""

    pointer: str
    reason: str
    is_warning: bool = False


def validate(path: str) -> list[Finding]:
    """Findings, errors first. Raises PyruncError when there is no config.json, or it isn't JSON."""
    _, document = bundle.read_document(path)
    facts = probe()
    problems, warnings = find_problems(document, rule_facts(facts))
    if not problems:
        try:
            bundle.load(path, facts)
        except PyruncError as error:
            problems = [error]
    return [
        *(Finding(pointer=error.where, reason=_reason(error)) for error in problems),
        *(Finding(pointer="", reason=text, is_warning=True) for text in warnings),
    ]


def _reason(error: PyruncError) -> str:
    """Without the part that is the same for all."""
    return error.why or error.what
