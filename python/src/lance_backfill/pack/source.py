"""Packs a function of a notebook, a REPL or a script as the source of a module.

Taken along is what the function names, and what that names: functions and classes beside it by
their source, modules by import statements, and constants by value, as they are when it is packed.
What cannot be had so is refused by name.  Nothing else is in the text, so other cells may change.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .definitions import Definition, find_class, find_function
from .errors import PackError
from .files import human_size
from .imports import import_module, import_value, submodule_imports
from .literals import MAX_TEXT, Literals, NotLiteral, TooLarge
from .names import Names, attribute_chains, names_of
from .secrets import HoldsSecret, Secrets

if TYPE_CHECKING:
    from collections.abc import Callable

_IN_EVERY_MODULE = {"__name__", "__doc__", "__annotations__", "__debug__", "__build_class__"}
_OF_THE_FILE = {"__file__", "__path__", "__spec__", "__loader__", "__cached__", "__package__"}
# Notebooks and interactive sessions put these among the builtins; a host has none of them.
_INTERACTIVE = {"get_ipython", "display", "_", "exit", "quit", "help", "copyright", "credits"}


class PackedSource(NamedTuple):
    """The name of a module, the name of the function in it, and the module's text."""

    module: str
    name: str
    text: str


def pack_function(function: Callable[..., Any]) -> PackedSource:
    """Makes a module of a function or class, and of what it needs.

    Refuses, by name: source that is not to be had or has changed, variables of enclosing functions,
    globals such as open files, models or tables, and constants with the value of a secret.
    """
    target = inspect.unwrap(function)
    if isinstance(target, type):
        namespace = vars(_module_of(target))
    elif isinstance(target, types.FunctionType):
        namespace = target.__globals__
    else:
        raise PackError(
            f"{getattr(function, '__name__', repr(function))} is a {type(target).__name__}; "
            "give a function or a class that is written in Python"
        )
    packer = _Packer(namespace, Secrets(_declared_secrets(function)))
    definition = packer.define(target)
    _check_decorated(function, definition)
    return PackedSource(f"packed_{definition.name}", definition.name, packer.text(definition))


def _module_of(cls: type) -> types.ModuleType:
    module = sys.modules.get(cls.__module__)
    if module is None:
        raise PackError(f"the module {cls.__module__} of {cls.__name__} is gone; import it again")
    return module


def _declared_secrets(function: Any) -> tuple[str, ...]:
    from lance_backfill.declaration import ATTRIBUTE, Declaration

    declared = getattr(function, ATTRIBUTE, None)
    secrets = declared.options.secrets if isinstance(declared, Declaration) else None
    return secrets or ()


def _check_decorated(function: Any, definition: Definition) -> None:
    from lance_backfill.declaration import ATTRIBUTE

    declared = hasattr(function, ATTRIBUTE) or hasattr(function, "__wrapped__")
    if declared and not _decorators(definition):
        raise PackError(
            f"{definition.name} was decorated by a call, which its source does not have; write its "
            "decorators above its `def`"
        )


def _decorators(definition: Definition) -> list[ast.expr]:
    return getattr(definition.node, "decorator_list", [])


@dataclass(frozen=True)
class _Item:
    """A statement of the module, and the items of other names that it needs."""

    text: str
    names: Names
    is_constant: bool = False


class _Packer:
    """Collects what a definition needs from one namespace."""

    def __init__(self, namespace: dict[str, Any], secrets: Secrets) -> None:
        self.namespace = namespace
        self.items: dict[str, _Item] = {}
        self.imports: set[str] = set()
        self.literals = Literals(secrets)
        self.future = False
        self._pending: list[Definition] = []

    def define(self, value: types.FunctionType | type) -> Definition:
        """Adds the source of a function or class, and all that it needs."""
        definition = self._add(value)
        while self._pending:
            later = self._pending.pop()
            names = self.items[later.name].names
            for name in sorted(names.all):
                self._need(name, later, is_hint=name in names.hints - names.at_once - names.later)
        return definition

    def text(self, root: Definition) -> str:
        """The module: imports, then constants and definitions, each after what it needs."""
        future = ["from __future__ import annotations"] if self.future else []
        imports = sorted(self.imports | self.literals.imports)
        heads = ["\n".join(lines) for lines in (future, imports) if lines]
        parts: list[str] = []
        constants: list[str] = []
        for name in self._order(root.name):
            item = self.items[name]
            (constants if item.is_constant else parts).append(item.text)
        if constants:
            heads.append("\n".join(constants))
        return "\n\n".join([*heads, *("\n" + part for part in parts)]).strip("\n") + "\n"

    def _add(self, value: types.FunctionType | type) -> Definition:
        if isinstance(value, type):
            definition = find_class(value)
        else:
            definition = find_function(value)
            self._check_defaults(value, definition)
        if definition.name not in self.items:
            self.future |= definition.future_annotations
            names = names_of(definition.node, definition.name)
            self.items[definition.name] = _Item(definition.text, names)
            self._pending.append(definition)
        return definition

    def _need(self, name: str, by: Definition, *, is_hint: bool) -> None:
        if name in _OF_THE_FILE:
            raise PackError(f"{by.name} names {name}, which is another one where it will run")
        if name not in self.namespace:
            is_builtin = hasattr(builtins, name) and name not in _INTERACTIVE
            if name in _IN_EVERY_MODULE or is_builtin or is_hint:
                return
            raise PackError(f"{by.name} names {name}, which is not defined; define it, then pack")
        value = self.namespace[name]
        if isinstance(value, types.ModuleType):
            self.imports.add(import_module(name, value))
            self.imports |= submodule_imports(name, value, attribute_chains(by.node, name))
        elif name in self.items or name in _IN_EVERY_MODULE:
            return
        elif (own := self._own(value)) is not None:
            definition = self._add(own)
            if value is not own and not _decorators(definition):
                raise PackError(
                    f"{by.name} names {name}, which was decorated by a call; write its decorators "
                    "above its `def`"
                )
            if definition.name != name:
                self._alias(name, definition, value, by)
        elif statement := import_value(name, value):
            self.imports.add(statement)
        else:
            self._constant(name, value, by)

    def _own(self, value: Any) -> types.FunctionType | type | None:
        """The function or class behind a value, if it was defined in this namespace."""
        if isinstance(value, type):
            mine = value.__module__ == self.namespace.get("__name__", "__main__")
            return value if mine else None
        inner = inspect.unwrap(value) if callable(value) else value
        if isinstance(inner, types.FunctionType) and inner.__globals__ is self.namespace:
            return inner
        return None

    def _alias(self, name: str, definition: Definition, value: Any, by: Definition) -> None:
        if self.namespace.get(definition.name, value) is not value:
            raise PackError(
                f"{by.name} names {name}, which is an earlier {definition.name}, or is made from "
                "it by a call; give it a `def` of its own, with its decorators above"
            )
        names = Names(frozenset([definition.name]), frozenset(), frozenset())
        self.items[name] = _Item(f"{name} = {definition.name}", names)

    def _constant(self, name: str, value: Any, by: Definition) -> None:
        try:
            text = self.literals.write(value)
        except NotLiteral:
            raise PackError(
                f"{by.name} names {name}, {_described(value)}, which cannot be packed; make it "
                f"inside of {by.name}, or once in the __init__ of a class"
            ) from None
        except TooLarge as large:
            raise PackError(
                f"{by.name} names {name}, {_described(value)} of {human_size(large.characters)} as "
                f"text, and a constant has at most {human_size(MAX_TEXT)}; load it in the __init__ "
                f"of a class, or put {by.name} into a module, {name} into a file beside it, and "
                "give their folder as code="
            ) from None
        except HoldsSecret as secret:
            raise PackError(
                f"{by.name} names {name}, which holds the value of the environment variable "
                f"{secret.name}, and would be stored with the code; read "
                f"os.environ[{secret.name!r}] inside of {by.name}, and declare it with "
                f"@udf(secrets=[{secret.name!r}])"
            ) from None
        self.items[name] = _Item(
            f"{name} = {text}", Names(*[frozenset[str]()] * 3), is_constant=True
        )

    def _check_defaults(self, function: types.FunctionType, definition: Definition) -> None:
        """Refuses a default that names a constant which has got another value since."""
        arguments = getattr(definition.node, "args", None)
        if not isinstance(arguments, ast.arguments):
            return
        keyword = function.__kwdefaults__ or {}
        pairs = list(zip(arguments.defaults, function.__defaults__ or (), strict=False))
        for argument, expression in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if expression is not None and argument.arg in keyword:
                pairs.append((expression, keyword[argument.arg]))
        for expression, value in pairs:
            if not isinstance(expression, ast.Name):
                continue
            now = self.namespace.get(expression.id, value)
            if now is not value and repr(now) != repr(value):
                raise PackError(
                    f"a default of {definition.name} was {expression.id}, which has another value "
                    f"since; define {definition.name} again, then pack"
                )

    def _order(self, root: str) -> list[str]:
        """Names so that what is needed at once comes first; the same for the same items."""
        ranked: dict[str, None] = {}
        entered = set()

        def visit(name: str) -> None:
            if name in entered or name not in self.items:
                return
            entered.add(name)
            names = self.items[name].names
            for needed in (names.at_once, names.hints, names.later):
                for other in sorted(needed):
                    visit(other)
            ranked[name] = None

        visit(root)
        left = list(ranked)
        ordered: list[str] = []
        while left:
            waiting = set(left)
            free = (name for name in left if not self.items[name].names.at_once & waiting)
            chosen = next(free, left[0])
            ordered.append(chosen)
            left.remove(chosen)
        return ordered


def _described(value: Any) -> str:
    kind = type(value)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    article = "an" if f"{where}{kind.__name__}"[0] in "aeiouAEIOU" else "a"
    return f"{article} {where}{kind.__name__}"
