"""Text to a tree. Grammar: the documentation of Go's package text/template.

A tree is tuples whose first member says what they are:
    ("text", str)  ("action", pipeline)  ("if" | "with", pipeline, body, otherwise)
    ("range", names, pipeline, body, otherwise)  ("break",)  ("continue",)
A pipeline is (names declared, is_declaration, commands); a command a list of operands; an operand
    ("value", x)  ("dot",)  ("nil",)  ("field", names)  ("variable", name, names)  ("function", name)
    ("nested", pipeline, names)
"""

from __future__ import annotations

import re

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeAlias

    Node: TypeAlias = tuple[Any, ...]

_ACTION = re.compile(
    r"\{\{(-\s)?(/\*.*?\*/|(?:\"(?:\\.|[^\"\\])*\"|`[^`]*`|'(?:\\.|[^'\\])*'|(?!\}\}).)*?)(\s-)?\}\}", re.S
)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)|(?P<char>'(?:\\.|[^'\\\n])+')"""
    r"""|(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))"""
    r"""|(?P<field>\.[^\W\d]\w*)|(?P<variable>\$\w*)|(?P<word>[^\W\d]\w*)"""
    r"""|(?P<sign>:=|=|[|(),.]))"""
)  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.S)
_REFUSED = ("define", "block", "template")


def refuse(why: str) -> NoReturn:
    raise PyruncError(INVALID, f"template parsing error: template: :1: {why}")


def parse_template(text: str) -> tuple[Node, ...]:
    """Raises PyruncError INVALID."""
    parser = _Parser(list(_split(text)))
    nodes, end = parser.nodes(())
    assert not end
    return nodes


def _split(text: str) -> Any:
    """("text", …) and ("action", its tokens); `{{-` and `-}}` have taken the blanks beside them."""
    position, trims = 0, False
    while True:
        found = _ACTION.search(text, position)
        piece = text[position : found.start()] if found else text[position:]
        piece = piece.lstrip() if trims else piece
        if found is None:
            if "{{" in piece:
                refuse("unclosed action")
            yield "text", piece
            return
        yield "text", piece.rstrip() if found[1] else piece
        if not found[2].startswith("/*"):
            yield "action", _tokens(found[2])
        position, trims = found.end(), bool(found[3])


def _tokens(text: str) -> list[tuple[str, str, bool]]:
    """(kind, text, whether a blank is before it)"""
    made, position = [], 0
    text = text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            refuse(f"unexpected {text[position:].lstrip()[:1]!r} in action")
        kind = found.lastgroup
        made.append((kind, found[kind], found.start(kind) > position))
        position = found.end()
    return made


def unquote(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]

    def plain(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        return chr(int(code, 16)) if code else _ESCAPES.get(found[4], found[4])

    return _ESCAPE.sub(plain, text[1:-1])


class _Parser:
    def __init__(self, pieces: list[tuple[str, Any]]) -> None:
        self._pieces = pieces[::-1]
        self._tokens: list[tuple[str, str, bool]] = []

    # --- text and control -----------------------------------------------------------------------

    def nodes(self, ends: tuple[str, ...]) -> tuple[tuple[Node, ...], str]:
        """Until one of `ends`, which is the second result; the tokens behind it are left."""
        made: list[Node] = []
        while self._pieces:
            kind, content = self._pieces.pop()
            if kind == "text":
                if content:
                    made.append(("text", content))
                continue
            self._tokens = content[::-1]
            word = self._peek("word")
            if word in ("end", "else"):
                if word not in ends:
                    refuse(f"unexpected {{{{{word}}}}}")
                self._tokens.pop()
                return tuple(made), word
            made.append(self._control(word) if word in _CONTROLS else self._action(word))
        if ends:
            refuse("unexpected EOF")
        return tuple(made), ""

    def _action(self, word: str) -> Node:
        if word in _REFUSED:
            refuse(f"{word} is not supported")
        if word in ("break", "continue"):
            self._tokens.pop()
            self._done()
            return (word,)
        node = ("action", self._pipeline())
        self._done()
        return node

    def _control(self, word: str) -> Node:
        self._tokens.pop()
        names = self._range_names() if word == "range" else ()
        pipeline = self._pipeline()
        self._done()
        body, end = self.nodes(("end", "else"))
        otherwise: tuple[Node, ...] = ()
        if end == "else":
            again = self._peek("word")
            if again in ("if", "with"):
                otherwise = (self._control(again),)
                return (word, pipeline, body, otherwise)
            self._done()
            otherwise, _ = self.nodes(("end",))
        self._done()
        return (
            (word, names, pipeline, body, otherwise) if word == "range" else (word, pipeline, body, otherwise)
        )

    def _range_names(self) -> tuple[str, ...]:
        """`$i, $x :=` before the pipeline, if it is there."""
        kinds = [(kind, text) for kind, text, _ in reversed(self._tokens)]
        if len(kinds) > 3 and kinds[1] == ("sign", ",") and kinds[0][0] == kinds[2][0] == "variable":
            self._tokens = self._tokens[:-4]
            return kinds[0][1], kinds[2][1]
        if len(kinds) > 1 and kinds[0][0] == "variable" and kinds[1] == ("sign", ":="):
            self._tokens = self._tokens[:-2]
            return (kinds[0][1],)
        return ()

    def _done(self) -> None:
        if self._tokens:
            refuse(f"unexpected {self._tokens[-1][1]!r} in action")

    def _peek(self, kind: str) -> str:
        return self._tokens[-1][1] if self._tokens and self._tokens[-1][0] == kind else ""

    # --- pipelines --------------------------------------------------------------------------------

    def _pipeline(self) -> Node:
        name, declares = "", False
        if self._peek("variable") and len(self._tokens) > 1 and self._tokens[-2][1] in (":=", "="):
            name = self._tokens.pop()[1]
            declares = self._tokens.pop()[1] == ":="
        commands = [self._command()]
        while self._peek("sign") == "|":
            self._tokens.pop()
            commands.append(self._command())
        return (name, declares, tuple(commands))

    def _command(self) -> tuple[Node, ...]:
        operands = []
        while self._tokens and self._peek("sign") not in ("|", ")", ","):
            operands.append(self._operand())
        if not operands:
            refuse("missing value for command")
        return tuple(operands)

    def _operand(self) -> Node:
        kind, text, _ = self._tokens.pop()
        if kind == "string":
            return ("value", unquote(text))
        if kind == "char":
            return ("value", ord(unquote(text)))
        if kind == "number":
            return ("value", _number(text))
        if kind == "field":
            return ("field", (text[1:], *self._chain()))
        if kind == "variable":
            return ("variable", text, self._chain())
        if kind == "word":
            return _WORDS.get(text, ("function", text))
        if text == ".":
            return ("dot",)
        if text == "(":
            pipeline = self._pipeline()
            if self._peek("sign") != ")":
                refuse("unclosed left paren")
            self._tokens.pop()
            return ("nested", pipeline, self._chain())
        return refuse(f"unexpected {text!r} in operand")

    def _chain(self) -> tuple[str, ...]:
        """`.A.B` at once behind an operand."""
        names = []
        while self._peek("field") and not self._tokens[-1][2]:
            names.append(self._tokens.pop()[1][1:])
        return tuple(names)


_CONTROLS = ("if", "range", "with")
_WORDS: dict[str, Node] = {"true": ("value", True), "false": ("value", False), "nil": ("nil",)}


def _number(text: str) -> int | float:
    digits = text.lstrip("+-")
    if digits[:2].lower() == "0x" or digits.isdigit():
        return int(text, 0) if digits[:1] != "0" or len(digits) < 3 or digits[1] in "xX" else int(text, 8)
    return float(text)
