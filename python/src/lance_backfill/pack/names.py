"""Which global names a definition needs, and when."""

from __future__ import annotations

import ast
import symtable
from dataclasses import dataclass

# Their bodies run where they stand, unlike those of functions.
_AT_ONCE = {"listcomp", "setcomp", "dictcomp", "genexpr"}


@dataclass(frozen=True)
class Names:
    """The global names in a definition.

    `at_once` are needed when it is executed, `later` when what it defines is called; `hints` are in
    annotations, which may name what is there for type checkers alone.
    """

    at_once: frozenset[str]
    later: frozenset[str]
    hints: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """All of them."""
        return self.at_once | self.later | self.hints


def names_of(node: ast.stmt, own: str) -> Names:
    """The names that a statement reads from around it; its own name is none of them."""
    hints: set[str] = set()
    bare = _WithoutHints(hints).visit(ast.parse(ast.unparse(node)))
    at_once: set[str] = set()
    later: set[str] = set()
    table = symtable.symtable(ast.unparse(bare), "<packed>", "exec")
    _collect(table, at_once, later, runs_at_once=True)
    return Names(frozenset(at_once - {own}), frozenset(later - {own}), frozenset(hints - {own}))


def attribute_chains(node: ast.stmt, name: str) -> set[tuple[str, ...]]:
    """The attributes that are read from a name: `("linalg", "norm")` for `NAME.linalg.norm`."""
    chains = set()
    for found in ast.walk(node):
        parts: list[str] = []
        inner: ast.AST = found
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if parts and isinstance(inner, ast.Name) and inner.id == name:
            chains.add(tuple(reversed(parts)))
    return chains


def _collect(
    table: symtable.SymbolTable, at_once: set[str], later: set[str], *, runs_at_once: bool
) -> None:
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or top):
            (at_once if runs_at_once else later).add(symbol.get_name())
    for child in table.get_children():
        function = str(child.get_type()).endswith("function") and child.get_name() not in _AT_ONCE
        _collect(child, at_once, later, runs_at_once=runs_at_once and not function)


class _WithoutHints(ast.NodeTransformer):
    """Takes annotations out, and collects the names in them."""

    def __init__(self, hints: set[str]) -> None:
        self.hints = hints

    def visit_arg(self, node: ast.arg) -> ast.arg:
        self._take(node.annotation)
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._take(node.returns)
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self._take(node.returns)
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self._take(node.annotation)
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def _take(self, annotation: ast.AST | None) -> None:
        if annotation is None:
            return
        for node in ast.walk(annotation):
            if isinstance(node, ast.Name):
                self.hints.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                try:
                    self._take(ast.parse(node.value, mode="eval").body)
                except SyntaxError:  # A text that is no type, as in Annotated[str, "why"].
                    continue
