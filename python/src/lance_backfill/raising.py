"""Exceptions that a function raises to say what should be done about the row."""

from __future__ import annotations


class Transient(Exception):
    """Says that trying again may help, whatever `retry_on` names.

    Args:
        message: What went wrong, in one line.
        retry_after: Seconds to wait before the next attempt, if the other side said so.
    """

    __lance_backfill__ = "transient"

    def __init__(self, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(Transient):
    """Says that a service wants fewer calls: waiting helps, and it counts as no attempt."""

    __lance_backfill__ = "rate_limited"
