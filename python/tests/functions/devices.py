"""Functions on a device, with stand-ins for the libraries that reach it."""

import os
import sys
import types

import pyarrow as pa

from lance_backfill import udf

emptied = []
fractions = []

torch = types.ModuleType("torch")
torch.cuda = types.SimpleNamespace(
    empty_cache=lambda: emptied.append("torch"),
    set_per_process_memory_fraction=fractions.append,
)


class TorchOutOfMemory(RuntimeError):
    pass


TorchOutOfMemory.__module__, TorchOutOfMemory.__name__ = "torch", "OutOfMemoryError"
TorchOutOfMemory.__qualname__ = "OutOfMemoryError"


class Accelerator(RuntimeError):
    pass


Accelerator.__module__, Accelerator.__qualname__ = "torch", "AcceleratorError"


class Xla(RuntimeError):
    pass


Xla.__module__ = "jaxlib.xla_extension"


class ResourceExhausted(RuntimeError):
    """As of gRPC, and of TensorFlow."""


class TensorFlow(ResourceExhausted):
    pass


TensorFlow.__module__ = "tensorflow.python.framework.errors_impl"

sys.modules["torch"] = torch

ERRORS = {
    "torch": TorchOutOfMemory("Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 1 GiB"),
    "old torch": RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    "hip": RuntimeError("HIP out of memory. Tried to allocate 20.00 MiB"),
    "driver": RuntimeError("CUDA error: out of memory"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
    "jax": Xla("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes."),
    "tensorflow": TensorFlow("OOM when allocating tensor with shape[64,4096]"),
    "assert": Accelerator("CUDA error: device-side assert triggered\nCUDA kernel errors might ..."),
    "illegal": RuntimeError("CUDA error: an illegal memory access was encountered"),
    "launch": RuntimeError("CUDA error: unspecified launch failure"),
    "ecc": RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    "code": Xla("INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS in cuMemcpyDtoHAsync"),
    # These are about no device of this machine.
    "host": MemoryError(),
    "quota": ResourceExhausted("RESOURCE_EXHAUSTED: Out of memory quota of the month"),
    "somebody": ValueError("the server says: CUDA out of memory"),
    "shape": RuntimeError("CUDA error: invalid argument"),
}


def _fail(what):
    if what == "wrapped":
        raise ValueError("the model failed") from ERRORS["torch"]
    if what in ERRORS:
        raise ERRORS[what]
    return len(what)


@udf
def scalar(what: str) -> int:
    return _fail(what)


@udf(data_type=pa.string())
def batched(what: pa.Array) -> pa.Array:
    for text in what.to_pylist():
        _fail(text)
    return pa.array([",".join(emptied)] * len(what))


@udf
class Model:
    def __init__(self):
        if os.environ.get("LOADS") == "no":
            raise ERRORS["torch"]

    def __call__(self, name: str) -> str:
        return f"{fractions} {os.environ.get(name)}"
