"""Packs functions and their environments into content-addressed files, and unpacks them.

Only the standard library is needed, so that any interpreter can pack and unpack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .functions import for_function
    from .source import pack_function

__all__ = ["for_function", "pack_function"]


def __getattr__(name: str) -> Any:  # Unpacking needs none of this and starts sooner without.
    if name == "for_function":
        from .functions import for_function

        return for_function
    if name == "pack_function":
        from .source import pack_function

        return pack_function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
