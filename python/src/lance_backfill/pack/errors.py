"""The one error of packing and unpacking."""

from __future__ import annotations


class PackError(Exception):
    """Says in one line what cannot be packed or unpacked, and what to do about it."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
