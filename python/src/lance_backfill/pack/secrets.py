"""Keeps the values of secrets out of what is packed."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_LOOKS_SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
# Shorter values, such as `1` or `false`, are found in what is no secret.
_MIN_LENGTH = 8


class HoldsSecret(Exception):
    """Something holds the value of the environment variable `name`; the value is not in here."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Secrets:
    """The values of environment variables that are declared as secrets, or named like some."""

    def __init__(self, declared: Collection[str] = ()) -> None:
        self._values = {
            name: value
            for name, value in sorted(os.environ.items())
            if len(value) >= _MIN_LENGTH and (name in declared or _LOOKS_SECRET.search(name))
        }

    def check(self, text: str | bytes) -> None:
        """Raises `HoldsSecret` if a value is in the text."""
        for name, value in self._values.items():
            held = value in text if isinstance(text, str) else os.fsencode(value) in text
            if held:
                raise HoldsSecret(name)
