"""What becomes of an exception: the keys of an error in a frame."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lance_backfill.host import device, transience

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import TracebackType

    from lance_backfill.host.frames import Header

MESSAGE_CHARACTERS = 500
"""A failure record is read in a table, where more than this is not looked at."""

TRACEBACK_BYTES = 4096
"""Twenty frames or so; a million failed rows must not fill the state store."""

_PACKAGE = str(Path(__file__).parent.parent)


class Refused(Exception):
    """An error that the host itself found: what is at fault is in its kind and message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Errors:
    """Turns exceptions into errors of a frame: classified, shortened, without secrets."""

    def __init__(
        self, retry_on: Collection[str] | None = None, secrets: Iterable[str] = ()
    ) -> None:
        """Takes the names of transient types (None: the usual ones) and values to be hidden."""
        self._retry_on = None if retry_on is None else frozenset(retry_on)
        # A value of one or two characters would black out half of every message.
        self._secrets = sorted((value for value in secrets if len(value) > 3), key=len)[::-1]

    def describe(self, error: BaseException) -> Header:
        """The keys of the error, `rate_limited` and so on included."""
        if isinstance(error, Refused):
            return refusal(error.kind, self._line(str(error)))
        lost = device.is_lost(error)
        full = not lost and device.is_out_of_memory(error)
        # Some libraries say so by a name that others have for the limit of a rate.
        rate_limited = not (lost or full) and transience.is_rate_limit(error)
        transient = rate_limited or (
            not (lost or full) and transience.is_transient(error, self._retry_on)
        )
        described: Header = {
            "kind": kind_of(error),
            "message": self._line(_text_of(error)),
            "traceback": self._traceback(error),
            "transient": transient,
            "rate_limited": rate_limited,
            "retry_after_s": transience.retry_after_s(error) if transient else None,
        }
        if full:
            described["out_of_device_memory"] = True
        if lost:
            described["device_lost"] = True
        return described

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _line(self, text: str) -> str:
        line = " ".join(self._hide(text).split())
        if len(line) > MESSAGE_CHARACTERS:
            line = line[: MESSAGE_CHARACTERS - 1] + "…"
        return line

    def _traceback(self, error: BaseException) -> str | None:
        first = _first_frame_of_user(error.__traceback__)
        if first is None and not isinstance(error, SyntaxError):
            return None
        # Most hosts never need it, and it is slow to import.
        from traceback import TracebackException

        try:
            formatted = TracebackException(type(error), error, first, compact=True)
            text = self._hide("".join(formatted.format()))
        except Exception as broken:  # noqa: BLE001, RUF100
            text = f"{kind_of(error)}, which cannot be printed: {kind_of(broken)}\n"
        return _shorten(text)


def refusal(kind: str, message: str) -> Header:
    """The keys of an error that no exception stands for."""
    return {
        "kind": kind,
        "message": message,
        "traceback": None,
        "transient": False,
        "rate_limited": False,
        "retry_after_s": None,
    }


def kind_of(error: BaseException) -> str:
    """The name of the exception's type, with its module unless that is `builtins`."""
    return transience.name_of(type(error))


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001, RUF100
        return "the exception has no message: its __str__ raises"


def _first_frame_of_user(traceback: TracebackType | None) -> TracebackType | None:
    """Skips the frames of this package and of the import machinery that lead to the user's code."""
    while traceback is not None and _is_ours(traceback.tb_frame.f_code.co_filename):
        traceback = traceback.tb_next
    return traceback


def _is_ours(file: str) -> bool:
    return file.startswith((_PACKAGE, "<frozen ")) or file == _importlib_file()


def _importlib_file() -> Any:
    return getattr(sys.modules.get("importlib"), "__file__", None)


def _shorten(text: str) -> str:
    """Cuts the middle out: the first frames say where, the last lines say what."""
    data = text.encode(errors="backslashreplace")
    if len(data) <= TRACEBACK_BYTES:
        return data.decode()
    half = TRACEBACK_BYTES // 2 - 16
    head = data[:half].decode(errors="ignore")
    tail = data[-half:].decode(errors="ignore")
    return f"{head}\n  [...]\n{tail}"
