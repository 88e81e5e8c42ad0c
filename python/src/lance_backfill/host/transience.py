"""Which errors may pass by themselves, told without importing the libraries that raise them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_TRANSIENT_STATUS = frozenset({408, 425, 500, 502, 503, 504, 529})
_RATE_LIMIT_STATUS = 429

_TRANSIENT_NAMES = (
    "Timeout",
    "TimeoutError",
    "TimeoutException",
    "ConnectionError",
    "ConnectError",
    "NetworkError",
    "RemoteProtocolError",
    "ServiceUnavailable",
    "ServiceUnavailableError",
    "InternalServerError",
    "OverloadedError",
)
"""Ends of names of exception types: `APITimeoutError`, `ConnectTimeout`, `APIConnectionError`."""

_RATE_LIMIT_NAMES = ("ratelimit", "toomanyrequests", "throttl", "resourceexhausted")

# An hour: a header that asks for more is wrong, or meant for a person.
_LONGEST_WAIT_S = 3600.0


def name_of(kind: type) -> str:
    """The name of a type, with its module unless that is `builtins`."""
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def is_rate_limit(error: BaseException) -> bool:
    """Whether the other side said: not so fast."""
    if getattr(error, "__lance_backfill__", None) == "rate_limited":
        return True
    if _status_of(error) == _RATE_LIMIT_STATUS:
        return True
    return any(part in name for name in _bare_names(error) for part in _RATE_LIMIT_NAMES)


def is_transient(error: BaseException, retry_on: Collection[str] | None) -> bool:
    """Whether trying again may help.

    Given `retry_on`, an error is transient if one of its classes is named there, with its module or
    bare; otherwise if it is a connection, a timeout, or an answer such as 503.
    """
    if getattr(error, "__lance_backfill__", None) == "transient":
        return True
    if retry_on is not None:
        return any(
            name_of(kind) in retry_on or kind.__name__ in retry_on for kind in type(error).__mro__
        )
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    status = _status_of(error)
    if status is not None:
        return status in _TRANSIENT_STATUS
    return any(
        kind.__name__.endswith(_TRANSIENT_NAMES)
        for kind in type(error).__mro__
        if kind.__module__ != "builtins"
    )


def retry_after_s(error: BaseException) -> float | None:
    """The seconds to wait as the other side said: an attribute, or a Retry-After header."""
    said = getattr(error, "retry_after", None)
    if said is None:
        said = _header_of(error)
    seconds = _seconds(said)
    if seconds is None:
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)


def _bare_names(error: BaseException) -> Iterator[str]:
    return (kind.__name__.lower().replace("_", "") for kind in type(error).__mro__)


def _status_of(error: BaseException) -> int | None:
    """The HTTP status that the exception carries, by the names libraries use for it."""
    response = getattr(error, "response", None)
    candidates = (
        getattr(error, "status_code", None),
        getattr(error, "status", None),
        getattr(error, "code", None),
        getattr(response, "status_code", None),
        getattr(response, "status", None),
        _botocore_status(response),
    )
    for candidate in candidates:
        if isinstance(candidate, int) and 100 <= candidate <= 599:
            return int(candidate)
    return None


def _botocore_status(response: Any) -> Any:
    if not isinstance(response, dict):
        return None
    about = response.get("ResponseMetadata")
    return about.get("HTTPStatusCode") if isinstance(about, dict) else None


def _header_of(error: BaseException) -> Any:
    for holder in (error, getattr(error, "response", None)):
        headers = getattr(holder, "headers", None)
        get = getattr(headers, "get", None)
        if get is None:
            continue
        for name in ("retry-after", "Retry-After"):
            try:
                said = get(name)
            except Exception:  # noqa: BLE001, RUF100, S112
                continue
            if said is not None:
                return said
    return None


def _seconds(said: Any) -> float | None:
    """Seconds as a number, as a text, or until an HTTP date; None if it is none of these."""
    if said is None or isinstance(said, bool):
        return None
    try:
        seconds = float(said)
    except (TypeError, ValueError):
        return _seconds_until(said)
    return seconds if seconds == seconds and abs(seconds) != float("inf") else None


def _seconds_until(said: Any) -> float | None:
    if not isinstance(said, str):
        return None
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(said).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
