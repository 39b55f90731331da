"""A tree of `parse`, walked over JSON values. A dict may have functions among its values, which are methods:
`{{.Label "x"}}`.

Docker evaluates over JSON with missing keys as errors; so do we.
"""

from __future__ import annotations

from pyrunc.docker.gotemplate.functions import FUNCTIONS, LAZY, is_true, show
from pyrunc.docker.gotemplate.parse import parse_template
from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from pyrunc.docker.gotemplate.parse import Node


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """Parsed once, for many values. Raises PyruncError INVALID."""

    def __init__(self, text: str) -> None:
        self._nodes = parse_template(text)

    def apply(self, value: Any) -> str:
        """Raises PyruncError INVALID for what it asks of `value` in vain."""
        made: list[str] = []
        try:
            _Walk(value, made).walk(self._nodes, value)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            _fail(str(error))
        except (_Break, _Continue):
            _fail("break or continue outside of range")
        return "".join(made)


def _fail(why: str) -> NoReturn:
    raise PyruncError(INVALID, f"template: :1: executing: {why}")


class _Walk:
    def __init__(self, root: Any, made: list[str]) -> None:
        self._scopes: list[dict[str, Any]] = [{"$": root}]
        self._made = made

    def walk(self, nodes: tuple[Node, ...], dot: Any) -> None:
        for node in nodes:
            kind = node[0]
            if kind == "text":
                self._made.append(node[1])
            elif kind == "action":
                value = self._pipeline(node[1], dot)
                if not node[1][0]:  # an assignment shows nothing
                    self._made.append(show(value))
            elif kind == "break":
                raise _Break
            elif kind == "continue":
                raise _Continue
            else:
                self._scopes.append({})
                self._control(node, dot)
                self._scopes.pop()

    def _control(self, node: Node, dot: Any) -> None:
        if node[0] == "range":
            self._range(node, dot)
            return
        value = self._pipeline(node[1], dot)
        if is_true(value):
            self.walk(node[2], value if node[0] == "with" else dot)
        else:
            self.walk(node[3], dot)

    def _range(self, node: Node, dot: Any) -> None:
        _, names, pipeline, body, otherwise = node
        value = self._pipeline(pipeline, dot)
        if isinstance(value, dict):
            items = [(key, one) for key, one in sorted(value.items()) if not callable(one)]
        elif isinstance(value, (list, tuple)):
            items = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            items = [(number, number) for number in range(value)]
        elif value is None:
            items = []
        else:
            _fail(f"range can't iterate over {show(value)}")
        if not items:
            self.walk(otherwise, dot)
        for key, one in items:
            if names:
                self._scopes[-1].update(zip(names, (one,) if len(names) == 1 else (key, one), strict=True))
            try:
                self.walk(body, one)
            except _Break:
                break
            except _Continue:
                continue

    def _pipeline(self, pipeline: Node, dot: Any) -> Any:
        name, declares, commands = pipeline
        value: Any = None
        for position, command in enumerate(commands):
            value = self._command(command, dot, (value,) if position else ())
        if name:
            if declares:
                self._scopes[-1][name] = value
            else:
                self._scope_of(name)[name] = value
        return value

    def _scope_of(self, name: str) -> dict[str, Any]:
        scopes = (scope for scope in reversed(self._scopes) if name in scope)
        found: dict[str, Any] | None = next(scopes, None)
        if found is None:
            _fail(f'undefined variable "{name}"')
        return found

    def _command(self, command: tuple[Node, ...], dot: Any, piped: tuple[Any, ...]) -> Any:
        first, *rest = command
        if first[0] == "function":
            if first[1] in LAZY:
                values = [lambda one=one: self._value(one, dot) for one in rest]
                return LAZY[first[1]]([*values, *(lambda one=one: one for one in piped)])
            function = FUNCTIONS.get(first[1])
            if function is None:
                _fail(f'function "{first[1]}" not defined')
            return function(*(self._value(one, dot) for one in rest), *piped)
        found = self._value(first, dot, calls=False)
        if callable(found):
            return found(*(self._value(one, dot) for one in rest), *piped)
        if rest or piped:
            _fail(f"can't give argument to non-function {'.'.join(map(str, first[-1]))}")
        return found

    def _value(self, operand: Node, dot: Any, calls: bool = True) -> Any:
        kind = operand[0]
        if kind == "value":
            return operand[1]
        if kind == "nil":
            return None
        if kind == "dot":
            return dot
        if kind == "field":
            value = _fields(dot, operand[1])
        elif kind == "variable":
            value = _fields(self._scope_of(operand[1])[operand[1]], operand[2])
        elif kind == "nested":
            value = _fields(self._pipeline(operand[1], dot), operand[2])
        else:
            return self._command((operand,), dot, ())
        return value() if calls and callable(value) else value


def _fields(value: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        if callable(value):
            value = value()
        if value is None:
            _fail(f'nil data; no entry for key "{name}"')
        if not isinstance(value, dict):
            _fail(f"can't evaluate field {name} in {show(value)}")
        if name not in value:
            _fail(f'at <.{name}>: map has no entry for key "{name}"')
        value = value[name]
    return value
