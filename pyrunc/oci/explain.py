"""Everything that is wrong with a document, found by jsonschema in the schemas themselves.

`oci.schema_check` says yes or no on every call and stops at the first violation. This is for the user who has
to put the document right, and so wants all of them at once; nobody imports it before there is one. It alone
on this floor reads files: the schemas, which are part of the program.
"""

from __future__ import annotations

import json
import os
import re

from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.oci import schema_check
from pyrunc.oci.config import OTHER_PLATFORMS
from pyrunc.oci.node import escape
from pyrunc.oci.normalise import without_nulls
from pyrunc.thirdparty import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

CONFIG = "config-schema.json"
PROCESS = "config-schema.json#/properties/process"
RESOURCES = "config-linux.json#/linux/properties/resources"
STATE = "state-schema.json"
FEATURES = "features-schema.json"

_BASE = "file:///runtime/"  # relative references are resolved against it; nothing is fetched from there
_KINDS = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


def explain(document: object, part: str = CONFIG) -> tuple[tuple[str, str], ...]:
    """(JSON pointer, reason) of each violation of the schema `part`, in the order of their pointers.

    Empty where jsonschema isn't installed: the caller knows the first violation already.
    """
    try:
        validator = make_validator(part)
    except PyruncError as error:
        if error.kind == UNSUPPORTED:
            return ()
        raise
    errors = validator.iter_errors(without_nulls(document))
    return tuple(sorted({violation for error in errors for violation in _violations(error)}))


def make_validator(part: str) -> Any:
    """A jsonschema validator for one of the parts named above.

    It is draft 4's, but that text is only what the kernel can take (schema_check.is_text), and that `$` in a
    pattern is the end, where Python's lets a newline follow.
    """
    jsonschema = load("jsonschema", "explaining what is wrong with a document")
    draft4 = jsonschema.Draft4Validator
    kinds = draft4.TYPE_CHECKER.redefine("string", _is_text)
    keywords = {"pattern": _check_pattern, "additionalProperties": _check_other_members}
    judge = jsonschema.validators.extend(draft4, keywords, type_checker=kinds)
    return judge({"$ref": _BASE + part}, registry=_make_registry())


def schema_directory() -> str:
    """Where the schemas are: pyrunc/spec once installed, spec beside pyrunc in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = os.path.join(package, "spec")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "spec")


def read_schema(name: str) -> Any:
    """One of the runtime schemas, a draft 4 one, without the sections that say nothing to Linux."""
    with open(os.path.join(schema_directory(), "runtime", name), encoding="utf-8") as file:
        schema = json.load(file)
    schema.pop("$schema", None)  # by it jsonschema would go back to its own draft 4
    if name == CONFIG:
        for section in OTHER_PLATFORMS:
            schema["properties"].pop(section, None)
    return schema


def _make_registry() -> Any:
    wanted_for = "explaining what is wrong with a document"
    referencing = load("referencing", wanted_for)
    draft4 = load("referencing.jsonschema", wanted_for).DRAFT4
    names = (CONFIG, "defs.json", "config-linux.json", "defs-linux.json", STATE, FEATURES)
    resources = ((_BASE + name, draft4.create_resource(read_schema(name))) for name in names)
    return referencing.Registry().with_resources(resources)


def _is_text(_checker: object, instance: object) -> bool:
    return type(instance) is str and schema_check.is_text(instance)


def _check_pattern(validator: Any, pattern: str, instance: object, _schema: object) -> Iterator[Any]:
    if validator.is_type(instance, "string") and not re.search(f"{pattern[:-1]}\\Z", str(instance)):
        yield _make_error(schema_check.describe_form(pattern))


def _check_other_members(validator: Any, other: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for name, value in instance.items():
        if name not in schema.get("properties", {}):
            if not schema_check.is_text(name):
                yield _make_error(schema_check.BAD_NAME)
            yield from validator.descend(value, other, path=name)


def _make_error(reason: str) -> Any:
    return load("jsonschema", "explaining what is wrong with a document").ValidationError(reason)


def _violations(error: Any) -> Iterator[tuple[str, str]]:
    """An `anyOf` hides what is wrong in its context; all else stands for itself."""
    if error.context:
        for inner in error.context:
            yield from _violations(inner)
        return
    pointer = "".join(f"/{escape(str(token))}" for token in error.absolute_path)
    if error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield f"{pointer}/{name}", "is required"
    else:
        yield pointer, _reason(error)


def _reason(error: Any) -> str:
    """In the words of the quick check, which don't quote half of the document; else in jsonschema's."""
    if error.validator == "type":
        is_bad_text = error.validator_value == "string" and type(error.instance) is str
        return (
            schema_check.BAD_TEXT
            if is_bad_text
            else schema_check.describe_kind(_KINDS[error.validator_value])
        )
    if error.validator == "enum":
        return schema_check.describe_choice(tuple(error.validator_value))
    if error.validator in ("minimum", "maximum"):
        return schema_check.describe_range(error.schema.get("minimum"), error.schema.get("maximum"))
    if error.validator == "minItems":
        return schema_check.TOO_SHORT
    return str(error.message)
