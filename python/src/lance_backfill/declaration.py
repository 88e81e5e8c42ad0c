"""What `@udf` keeps of a function: its options, kind and inputs."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

ATTRIBUTE = "__lance_backfill__"
"""Where a decorated function or class keeps its declaration."""

Kind = Literal["scalar", "array", "record_batch"]


@dataclass(frozen=True)
class Options:
    """What the author said; None where nothing was said."""

    batch_size: int | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    memory_mib: int | None = None
    row_timeout_s: float | None = None
    init_timeout_s: float | None = None
    on_error: str | None = None
    max_attempts: int | None = None
    retry_on: tuple[str, ...] | None = None
    version: str | None = None
    secrets: tuple[str, ...] | None = None
    env: Mapping[str, str] | None = field(default=None)
    pool: str | None = None
    gpu_class: str | None = None
    batch_bytes: int | None = None


@dataclass(frozen=True)
class Declaration:
    """A function with its options; what hints say is looked up when it is asked for."""

    target: Any
    data_type: Any
    given_inputs: tuple[str, ...] | None
    options: Options

    @property
    def name(self) -> str:
        """The function's name, for messages and for `status`."""
        return str(getattr(self.target, "__name__", type(self.target).__name__))

    @property
    def doc(self) -> str | None:
        """The first line of the documentation."""
        # A dataclass has one that it wrote itself: its signature.
        text = inspect.cleandoc(getattr(self.target, "__doc__", None) or "")
        return text.partition("\n")[0].strip() or None

    @property
    def stateful(self) -> bool:
        """Whether it is a class, of which a host makes one instance."""
        return isinstance(self.target, type)

    @property
    def called(self) -> Callable[..., Any]:
        """What is called with a row or a batch, unbound if the target is a class."""
        target = self.target
        if inspect.isroutine(target) or isinstance(target, functools.partial):
            return typing.cast("Callable[..., Any]", target)
        return typing.cast("Callable[..., Any]", target.__call__)

    def hints(self) -> dict[str, Any]:
        """Resolved hints by parameter, and `return`.

        Raises:
            TypeError: a hint names what cannot be found.
        """
        called = inspect.unwrap(self.called)
        while isinstance(called, functools.partial):
            called = called.func
        try:
            return typing.get_type_hints(called, include_extras=True)
        except (NameError, AttributeError, SyntaxError) as error:
            raise TypeError(f"{self.name}: a type hint cannot be resolved: {error}") from error
        except TypeError as error:
            if not getattr(called, "__annotations__", None):
                return {}  # A callable without hints, of a kind that cannot have them.
            raise TypeError(f"{self.name}: a type hint cannot be resolved: {error}") from error

    def parameters(self) -> list[inspect.Parameter]:
        """The parameters that can be inputs, in order.

        Raises:
            TypeError: the signature is not to be had.
        """
        try:
            parameters = list(inspect.signature(self.called).parameters.values())
        except ValueError as error:
            raise TypeError(f"{self.name} has no signature; wrap it in a function") from error
        if self.stateful:
            parameters = parameters[1:]
        return parameters

    @property
    def kind(self) -> Kind:
        """How it is called, as the hints of its parameters say.

        Raises:
            TypeError: parameters of a row and of a batch are mixed.
        """
        hints = self.hints()
        kinds = {_kind_of(hints.get(parameter.name)) for parameter in self.positional()}
        if len(kinds) > 1 or (kinds == {"record_batch"} and len(self.positional()) > 1):
            raise TypeError(
                f"{self.name}: its parameters must all be values of a row, or all pyarrow.Array, "
                "or one pyarrow.RecordBatch"
            )
        return kinds.pop() if kinds else "scalar"

    def positional(self) -> list[inspect.Parameter]:
        """The parameters that inputs are passed to: without a default, unless more are named."""
        usable = [
            parameter
            for parameter in self.parameters()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        required = [parameter for parameter in usable if parameter.default is parameter.empty]
        given = len(self.given_inputs or ())
        return usable[: max(len(required), given)]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order: `inputs=`, or the parameters without a default."""
        if self.given_inputs is not None:
            return self.given_inputs
        return tuple(parameter.name for parameter in self.positional())

    def output_type(self) -> pa.DataType:
        """The type of the results: `data_type=`, or what the return hint says.

        Raises:
            TypeError: neither says it.
        """
        from lance_backfill import types

        if self.data_type is not None:
            return types.parse(self.data_type, self.name)
        if self.kind != "scalar":
            raise TypeError(
                f"{self.name}: the hint of a batched function does not say what its values are: "
                "write @udf(data_type=...) above it"
            )
        hints = self.hints()
        if "return" not in hints:
            raise TypeError(
                f"{self.name} has no return hint: give one, or write @udf(data_type=...) above it"
            )
        return types.infer(hints["return"], self.name)

    def check_signature(self) -> None:
        """Refuses what could not be called with its inputs.

        Raises:
            TypeError: says in one line what is wrong.
        """
        called = self.called
        if not callable(called) or (self.stateful and "__call__" not in dir(self.target)):
            raise TypeError(f"{self.name}: a class needs a __call__ method, which is the function")
        if self.stateful:
            self._check_constructor()
        for test, what in (
            (inspect.iscoroutinefunction, "an async function"),
            (inspect.isasyncgenfunction, "an async generator"),
            (inspect.isgeneratorfunction, "a generator"),
        ):
            if test(called):
                raise TypeError(f"{self.name} is {what}: only ordinary functions can be called")
        parameters = self.parameters()
        for parameter in parameters:
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
                raise TypeError(
                    f"{self.name}: parameter {parameter.name!r} can only be given by name: "
                    "inputs are passed by position"
                )
        self._check_count(parameters)

    def _check_constructor(self) -> None:
        for parameter in list(inspect.signature(self.target.__init__).parameters.values())[1:]:
            if parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ):
                raise TypeError(
                    f"{self.name}: __init__ gets no arguments, and needs {parameter.name!r}"
                )

    def _check_count(self, parameters: list[inspect.Parameter]) -> None:
        variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
        positional = self.positional()
        if self.given_inputs is None:
            if variadic:
                raise TypeError(
                    f"{self.name} takes any number of arguments: name them with inputs="
                )
            if self.kind_if_known() == "record_batch":
                raise TypeError(f"{self.name} takes a RecordBatch: name its columns with inputs=")
        elif self.kind_if_known() != "record_batch":
            few, many = (
                len(self.given_inputs) < len(positional),
                len(self.given_inputs) > len(positional),
            )
            if few or (many and not variadic):
                raise TypeError(
                    f"{self.name}: inputs= names {len(self.given_inputs)} columns, "
                    f"and the function takes {len(positional)}"
                )

    def kind_if_known(self) -> Kind | None:
        """The kind, or None while a hint names what is defined further below."""
        try:
            self.hints()
        except TypeError:
            return None
        return self.kind


def _kind_of(hint: Any) -> Kind:
    # Who uses pyarrow in a hint has imported it.
    pa = sys.modules.get("pyarrow")
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    hint = typing.get_origin(hint) or hint
    if pa is not None and isinstance(hint, type):
        if issubclass(hint, pa.RecordBatch):
            return "record_batch"
        if issubclass(hint, (pa.Array, pa.ChunkedArray)):
            return "array"
    return "scalar"
