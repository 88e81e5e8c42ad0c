"""A host's life: start, ready or failed, calls, the end of stdin."""

from __future__ import annotations

import faulthandler
import gc
import os
import platform
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from lance_backfill.host import watch
from lance_backfill.host.answers import Answers
from lance_backfill.host.device import keep_to_share
from lance_backfill.host.environment import prepare_environment
from lance_backfill.host.errors import Errors, Refused
from lance_backfill.host.frames import FrameReader, ProtocolError
from lance_backfill.host.streams import prepare_streams

if TYPE_CHECKING:
    from lance_backfill.declaration import Declaration
    from lance_backfill.host.batched import BatchedCalls
    from lance_backfill.host.frames import Header
    from lance_backfill.host.scalar import ScalarCalls

PROTOCOL = 1

# Exit handlers of libraries may hang, on a GPU for example; nobody waits for them longer than this.
_LEAVE_WITHIN_S = 5.0

_FAILED, _MISUNDERSTOOD = 1, 2


def serve(from_worker: int, to_worker: int) -> NoReturn:
    """Serves the worker at these descriptors until it is gone, then ends the process."""
    prepare_streams()
    faulthandler.enable(file=2)
    # Ctrl-C in a terminal reaches the whole group; whether to finish is the worker's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch.exit_with(os.getppid())
    code = 0
    try:
        code = _converse(FrameReader(from_worker), Answers(to_worker))
    except ProtocolError as error:
        sys.stderr.write(f"lance-backfill host: {error}\n")
        code = _MISUNDERSTOOD
    except BrokenPipeError:
        pass  # The worker is gone.
    watch.exit_within(_LEAVE_WITHIN_S, code)
    sys.exit(code)


def _converse(reader: FrameReader, writer: Answers) -> int:
    frame = reader.read()
    if frame is None:
        return 0
    start, body = frame
    if start.get("type") != "start":
        raise ProtocolError(f"the first frame is {start.get('type')!r}, not 'start'")
    errors = Errors(start.get("retry_on"), (start.get("secrets") or {}).values())
    try:
        calls = _begin(start, body, errors, writer)
    except BaseException as error:  # noqa: BLE001, RUF100 - A module may exit while it is imported.
        writer.end_child(error)
        writer.write({"type": "failed", **errors.describe(error)})
        return _FAILED
    if calls is None:
        return 0
    return _answer_calls(calls, reader)


def _answer_calls(calls: ScalarCalls | BatchedCalls, reader: FrameReader) -> int:
    import pyarrow as pa

    from lance_backfill.host.encoding import BatchDecoder

    decoder = BatchDecoder()
    # Aligned, and not filled with zeros first.
    reader.allocate = pa.allocate_buffer
    while (frame := reader.read()) is not None:
        call, body = frame
        if call.get("type") != "call":
            raise ProtocolError(f"a frame is {call.get('type')!r}, not 'call'")
        batch = None if body is None else decoder.decode(body)
        calls.call(call["id"], batch, call["rows"])
        # Arrays that the function did not keep are free before the next ones arrive.
        del frame, body, batch
    return 0


def _begin(
    start: Header, body: Any, errors: Errors, writer: Answers
) -> ScalarCalls | BatchedCalls | None:
    """Imports the function and says so; what answers calls, or None if none will come."""
    if start.get("protocol") != PROTOCOL:
        raise Refused(
            "wrong_protocol",
            f"the worker speaks protocol {start.get('protocol')}, the host {PROTOCOL}",
        )
    prepare_environment(start)
    _require_pyarrow()
    from lance_backfill.host.entrypoint import load

    declaration = load(start["entrypoint"])
    ready = {
        "type": "ready",
        "protocol": PROTOCOL,
        "python": platform.python_version(),
        "function": describe(declaration),
    }
    if start["mode"] == "describe":
        import pyarrow as pa

        from lance_backfill.host.encoding import encode_schema

        schema = encode_schema(pa.schema([pa.field("value", declaration.output_type())]))
        writer.write(ready, *schema)
        return None
    from lance_backfill.host.binding import bind

    # Where it is imported with the function, before a model is loaded; else as soon as it is there.
    keep_to_share()
    calls = bind(declaration, start, body, errors, writer)
    keep_to_share()
    # What is imported stays; to walk through it in each collection would slow the calls down.
    gc.freeze()
    writer.write(ready)
    return calls


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise Refused(
            "ModuleNotFoundError",
            f"the function's environment has no usable pyarrow, which it needs: {error}",
        ) from None


def describe(declaration: Declaration) -> Header:
    """The function, as `ready` carries it."""
    options = declaration.options
    return {
        "name": declaration.name,
        "doc": declaration.doc,
        "kind": declaration.kind,
        "stateful": declaration.stateful,
        "inputs": list(declaration.inputs),
        "options": dict(vars(options)),
    }
