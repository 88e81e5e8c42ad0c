"""Which errors pass by themselves, and how long to wait."""

import asyncio
import email.utils
import time
from types import SimpleNamespace

import pytest

from lance_backfill import RateLimited, Transient
from lance_backfill.host.transience import is_rate_limit, is_transient, retry_after_s


def made(name, **attributes):
    return type(name, (Exception,), {**attributes, "__module__": "library"})()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncio.TimeoutError(),
        made("APITimeoutError"),
        made("ReadTimeout"),
        made("APIConnectionError"),
        made("Other", status_code=503),
        made("Other", status=504),
        made("Other", code=502),
        made("Other", response=SimpleNamespace(status_code=500)),
        made("Other", response={"ResponseMetadata": {"HTTPStatusCode": 503}}),
        Transient("x"),
    ],
)
def test_transient(error):
    assert is_transient(error, None)
    assert not is_rate_limit(error)
    assert is_transient(error, ()) == isinstance(error, Transient)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        OSError(),
        made("Other", status_code=404),
        made("Other", code="503"),
        made("Other"),
    ],
)
def test_permanent(error):
    assert not is_transient(error, None)
    assert not is_rate_limit(error)


@pytest.mark.parametrize(
    "error",
    [
        made("RateLimitError"),
        made("ThrottlingException"),
        made("TooManyRequests"),
        made("Too_Many_Requests"),
        made("Other", status_code=429),
        RateLimited("x"),
    ],
)
def test_rate_limits(error):
    assert is_rate_limit(error)


def test_retry_on_names_classes_of_the_family():
    class Mine(LookupError): ...

    assert is_transient(Mine(), ["LookupError"])
    assert is_transient(Mine(), ["Mine"])
    assert is_transient(Mine(), [f"{__name__}.{Mine.__qualname__}"])
    assert not is_transient(Mine(), ["ValueError"])


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (3, 3),
        ("2.5", 2.5),
        (-1, 0),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        (10**9, 3600),
        (True, None),
    ],
)
def test_retry_after(said, seconds):
    assert retry_after_s(made("E", retry_after=said)) == seconds


def test_retry_after_in_headers():
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    for name, said, least in (("Retry-After", "7", 7), ("retry-after", date, 90)):
        response = SimpleNamespace(headers={name: said})
        assert least <= retry_after_s(made("E", response=response)) <= 100
    assert retry_after_s(ValueError()) is None
