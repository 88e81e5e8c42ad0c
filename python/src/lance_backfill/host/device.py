"""A device that is full, or lost: told by names and texts, without importing a library for it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lance_backfill.host.frames import Header

SHARE = "LANCE_BACKFILL_DEVICE_SHARE"
"""The part of its device that this host may use; without it, all of it."""

_LOST = 3

# What these raise is about a device on this machine; the text of somebody's answer is not.
_LIBRARIES = frozenset(
    {
        "cupy",
        "cupy_backends",
        "jax",
        "jaxlib",
        "numba",
        "onnxruntime",
        "pycuda",
        "tensorflow",
        "torch",
    }
)

_NO_MEMORY = re.compile(
    r"\b(?:cuda|hip|mps|xpu|gpu)\b.{0,60}\bout of memory"
    r"|resource_exhausted: .*\b(?:memory|allocat)"
    r"|\boom when allocating"
    r"|(?:cuda_error|hiperror)_?out_?of_?memory"
    r"|cudaerrormemoryallocation"
    r"|(?:cublas|cudnn|cusolver|cusparse)_status_alloc_failed",
    re.IGNORECASE | re.DOTALL,
)

# After one of these each further call of the process fails, too: its context is gone.
_LOST_FOR_GOOD = re.compile(
    r"\b(?:cuda|hip)\b.*(?:device-side assert|illegal (?:memory access|address|instruction)"
    r"|unspecified launch failure|misaligned address|hardware stack error|invalid program counter"
    r"|\becc\b|uncorrectable|launch timed out|context is destroyed)"
    r"|cudaError(?:Assert|Illegal(?:Address|Instruction)|Launch(?:Failure|Timeout)|MisalignedAddress"
    r"|HardwareStackError|InvalidPc|InvalidAddressSpace|(?:ECC|Nvlink)Uncorrectable)"
    r"|CUDA_ERROR_(?:ASSERT|ILLEGAL_(?:ADDRESS|INSTRUCTION)|LAUNCH_(?:FAILED|TIMEOUT)"
    r"|MISALIGNED_ADDRESS|HARDWARE_STACK_ERROR|INVALID_(?:PC|ADDRESS_SPACE)"
    r"|(?:ECC|NVLINK)_UNCORRECTABLE|CONTEXT_IS_DESTROYED)"
    r"|hipError(?:IllegalAddress|Launch(?:Failure|TimeOut)|Assert|ECCNotCorrectable)",
    re.IGNORECASE | re.DOTALL,
)

# An error may quote all of its inputs; what it is stands at the beginning.
_LOOKED_AT = 4000


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device had no memory for what was asked of it: fewer rows may fit."""
    return any(
        _is_named(link, "OutOfMemoryError") or _NO_MEMORY.search(text) is not None
        for link, text in _told_by_libraries(error)
    )


def is_lost(error: BaseException) -> bool:
    """Whether the process can use its device no more."""
    return any(_LOST_FOR_GOOD.search(text) for _, text in _told_by_libraries(error))


def recover(described: Header) -> None:
    """Gives back what libraries keep of the device's memory, after an error that says it is full.

    The exception must be gone by then: its frames hold what the function had on the device.
    """
    if not described.get("out_of_device_memory"):
        return
    import gc

    gc.collect()
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    # A library that is only half there, or that fails at this, is no reason not to answer.
    with contextlib.suppress(Exception):
        if torch is not None:
            torch.cuda.empty_cache()
    with contextlib.suppress(Exception):
        if cupy is not None:
            cupy.get_default_memory_pool().free_all_blocks()


def end_if_lost(described: Header) -> None:
    """Ends the process, which has answered, if its device is lost to it."""
    if described.get("device_lost"):
        _leave()


def share_variables() -> None:
    """Tells libraries that are imported later what part of the device is this host's.

    Who set the variables means it.
    """
    share = _share()
    if share is not None:
        # Of the rest, contexts and code take something in each process.
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{share * 0.9:.3f}")
        os.environ.setdefault("CUPY_GPU_MEMORY_LIMIT", f"{share * 100:g}%")


def keep_to_share() -> None:
    """Lets torch, if it is there already, take no more than this host's part of the device."""
    share, torch = _share(), sys.modules.get("torch")
    if share is not None and torch is not None:
        # A build without CUDA raises; then there is nothing to keep to.
        with contextlib.suppress(Exception):
            torch.cuda.set_per_process_memory_fraction(share)


def _share() -> float | None:
    try:
        share = float(os.environ.get(SHARE, ""))
    except ValueError:
        return None
    return share if 0 < share < 1 else None


def _told_by_libraries(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The error and what caused it, as far as they are of a library for devices."""
    link: BaseException | None = error
    for _ in range(8):
        if link is None:
            return
        root = type(link).__module__.partition(".")[0]
        # Many of them raise a plain RuntimeError.
        if root in _LIBRARIES or type(link) in (RuntimeError, MemoryError):
            try:
                yield link, str(link)[:_LOOKED_AT]
            except Exception:  # noqa: BLE001, RUF100 - It has no text.
                yield link, ""
        link = link.__cause__


def _is_named(error: BaseException, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(error).__mro__)


def _leave() -> NoReturn:
    # Exit handlers would ask the lost device to tidy up, and hang or crash.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_LOST)
