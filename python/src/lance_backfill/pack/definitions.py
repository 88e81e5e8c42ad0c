"""Finds the source of functions and classes of a notebook, a REPL or a script."""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import sys
import textwrap
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import PackError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADVICE = "put it into a .py file, import it from there, and try again"
_FUTURE_ANNOTATIONS = __future__.annotations.compiler_flag
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Definition:
    """A statement that defines a name: its text, with decorators, and its syntax."""

    name: str
    text: str
    node: ast.stmt
    first_line: int
    future_annotations: bool


def find_function(function: types.FunctionType) -> Definition:
    """The `def`, or `NAME = lambda ...`, that made a function.

    Refuses one whose source is not to be had, has changed since, or which uses variables of a
    function around it.
    """
    code = function.__code__
    name = function.__name__
    if code.co_freevars:
        raise PackError(
            f"{name} uses {', '.join(code.co_freevars)} of the function that it is defined in; "
            "pass it as an argument, or make it a global constant"
        )
    lines = _lines(function)
    if not lines:
        raise PackError(f"the source of {name} is not to be had, as it was typed in; {_ADVICE}")
    tree = _parse(lines, name)
    for node in ast.walk(tree):
        if isinstance(node, _DEFINITIONS[:2]) and _first_line(node) == code.co_firstlineno:
            definition = _definition(node.name, node, lines, code.co_flags)
            break
    else:
        definition = _find_lambda(name, code, tree, lines)
    _check_unchanged(definition, lines, [code])
    return definition


def find_class(cls: type) -> Definition:
    """The `class` statement that made a class; refuses one whose source is not to be had."""
    codes = [value.__code__ for value in vars(cls).values() if _is_written(cls, value)]
    for filename in _files_of(codes):
        lines = linecache.getlines(filename)
        if not lines or cls.__name__ not in "".join(lines):
            continue
        nodes = [
            node
            for node in ast.walk(_parse(lines, cls.__name__))
            if isinstance(node, ast.ClassDef) and node.name == cls.__name__
        ]
        node = _class_node(cls, nodes)
        if node is None:
            continue
        mine = [code for code in codes if code.co_filename == filename]
        flags = mine[0].co_flags if mine else 0
        definition = _definition(cls.__name__, node, lines, flags)
        _check_unchanged(definition, lines, mine)
        return definition
    raise PackError(f"the source of the class {cls.__name__} is not to be had; {_ADVICE}")


def _lines(function: types.FunctionType) -> list[str]:
    lines = linecache.getlines(function.__code__.co_filename, function.__globals__)
    if lines:
        return lines
    try:
        return inspect.findsource(function)[0]
    except (OSError, TypeError):
        return []


def _parse(lines: list[str], name: str) -> ast.Module:
    try:
        return ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        raise PackError(f"the source of {name} cannot be read as Python; {_ADVICE}") from None


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _definition(name: str, node: ast.stmt, lines: list[str], flags: int) -> Definition:
    first = _first_line(node) if isinstance(node, _DEFINITIONS) else node.lineno
    text = "".join(lines[first - 1 : node.end_lineno])
    text = textwrap.dedent(text).rstrip()
    plain = _parse([text], name).body
    if len(plain) != 1:
        raise PackError(f"{name} shares its line with other statements; give it lines of its own")
    return Definition(name, text, plain[0], first, bool(flags & _FUTURE_ANNOTATIONS))


def _find_lambda(name: str, code: types.CodeType, tree: ast.Module, lines: list[str]) -> Definition:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)):
            continue
        if node.lineno <= code.co_firstlineno <= (node.end_lineno or 0) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                return _definition(target.id, node, lines, code.co_flags)
    what = "a lambda inside of an expression" if name == "<lambda>" else name
    raise PackError(f"{what} has no source that can be had alone; write it as a `def`")


def _check_unchanged(definition: Definition, lines: list[str], codes: list[types.CodeType]) -> None:
    """Refuses source that gives other code than what was loaded from it.

    What the compiler makes of a call depends on the imports around it, and of a cell each statement
    may have been compiled alone: so the code may be that of the file or that of the statement.
    """
    flags = _FUTURE_ANNOTATIONS if definition.future_annotations else 0
    # With as many lines above as in the file, as functions are told apart by their first line.
    texts = ["\n" * (definition.first_line - 1) + definition.text]
    if not lines[definition.first_line - 1][:1].isspace():  # Else what was moved is the other one.
        texts.append("".join(lines))
    there = [
        code
        for text in texts
        for code in _codes_in(compile(text, "<packed>", "exec", flags, dont_inherit=True))
    ]
    for code in codes:
        if not any(_same_code(code, found) for found in there):
            raise PackError(
                f"the source of {definition.name} has changed since it was loaded; run it again, "
                "then pack"
            )


def _codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes_in(constant)


def _same_code(one: types.CodeType, other: types.CodeType) -> bool:
    return (
        one.co_name == other.co_name
        and one.co_firstlineno == other.co_firstlineno
        and one.co_code == other.co_code
        and one.co_names == other.co_names
        and one.co_varnames == other.co_varnames
        and len(one.co_consts) == len(other.co_consts)
        and all(map(_same_constant, one.co_consts, other.co_consts))
    )


def _same_constant(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, types.CodeType):
        return _same_code(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same_constant, one, other))
    return one == other if isinstance(one, frozenset) else repr(one) == repr(other)


def _files_of(codes: list[types.CodeType]) -> Iterator[str]:
    """Where the source of a class may be, the likeliest first."""
    seen = set()
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    cells = [name for name in reversed(linecache.cache) if _is_cell(name)]
    for name in [*(code.co_filename for code in codes), *([main] if main else []), *cells]:
        if name not in seen:
            seen.add(name)
            yield name


def _is_cell(filename: str) -> bool:
    return filename.startswith("<") or "ipykernel" in filename


def _class_node(cls: type, nodes: list[ast.ClassDef]) -> ast.ClassDef | None:
    line = vars(cls).get("__firstlineno__")
    if line is not None:
        nodes = [node for node in nodes if _first_line(node) == line]
    return next((node for node in reversed(nodes) if _fits(cls, node)), None)


def _fits(cls: type, node: ast.ClassDef) -> bool:
    """Whether the statement defines what the class has, so that no namesake is taken for it."""
    defined = set()
    for statement in node.body:
        if isinstance(statement, _DEFINITIONS):
            defined.add(statement.name)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            defined.add(statement.target.id)
    functions = {name for name, value in vars(cls).items() if _is_written(cls, value)}
    annotations = set(inspect.get_annotations(cls))
    return functions | annotations <= defined and defined <= {*vars(cls), *annotations}


def _is_written(cls: type, value: Any) -> bool:
    """Whether it is a function of the class's own text, and not one that a decorator has added."""
    return (
        isinstance(value, types.FunctionType)
        and value.__qualname__ == f"{cls.__qualname__}.{value.__name__}"
        and value.__module__ == cls.__module__
        and value.__name__ == value.__code__.co_name
        and value.__code__.co_filename != "<string>"
    )
