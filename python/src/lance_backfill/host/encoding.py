"""Bodies of frames: Arrow IPC streams of one batch."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa

# What a message begins with: a mark, and its length.
_MESSAGE = struct.Struct("<II")

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def decode_batch(body: Any) -> pa.RecordBatch | None:
    """The batch of a stream, whose arrays point into the body; None if there is no batch."""
    with pa.ipc.open_stream(body) as stream:
        try:
            return stream.read_next_batch()
        except StopIteration:
            return None


class BatchDecoder:
    """Decodes stream after stream; reading the schema they share each time would cost the most."""

    def __init__(self) -> None:
        """Knows no schema yet."""
        self._head = b""
        self._schema: pa.Schema | None = None

    def decode(self, body: Any) -> pa.RecordBatch | None:
        """The same as `decode_batch`."""
        view = memoryview(body).cast("B")
        head = self._head
        # The end of a stream has no place for a batch.
        if head and view[: len(head)] == head and len(view) > len(head) + len(_END_OF_STREAM):
            return pa.ipc.read_record_batch(pa.py_buffer(view[len(head) :]), self._schema)
        batch = decode_batch(body)
        # Dictionaries are messages between the schema and the batch.
        if batch is not None and not any(_has_dictionaries(kind) for kind in batch.schema.types):
            _, length = _MESSAGE.unpack_from(view)
            self._head = bytes(view[: _MESSAGE.size + length])
            self._schema = batch.schema
        return batch


def decode_schema(body: Any) -> pa.Schema:
    """The schema of a stream."""
    with pa.ipc.open_stream(body) as stream:
        return stream.schema


def encode_schema(schema: pa.Schema) -> list[Any]:
    """A stream without batches."""
    return [schema.serialize(), _END_OF_STREAM]


class ResultEncoder:
    """Encodes results, one column `value`, as streams in pieces."""

    def __init__(self, value: pa.DataType) -> None:
        """Takes the type of the results."""
        self._schema = pa.schema([pa.field("value", value)])
        self._head = self._schema.serialize()
        self._with_dictionaries = _has_dictionaries(value)

    def encode(self, values: pa.Array) -> list[Any]:
        """A stream with these values."""
        batch = pa.RecordBatch.from_arrays([values], schema=self._schema)
        if self._with_dictionaries:
            return [encode_batch(batch)]
        # The parts of a stream, without a stream writer and without writing the schema each time.
        return [self._head, batch.serialize(), _END_OF_STREAM]


def encode_batch(batch: pa.RecordBatch) -> pa.Buffer:
    """A stream with this batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue()


def _has_dictionaries(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    if isinstance(kind, pa.BaseExtensionType):
        return _has_dictionaries(kind.storage_type)
    return any(_has_dictionaries(kind.field(at).type) for at in range(kind.num_fields))
