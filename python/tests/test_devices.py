"""What becomes of calls whose device has no memory left, or is lost."""

import pyarrow as pa
import pytest

from lance_backfill.hosting import Host, StartFailed
from support.calls import FUNCTIONS, answer_of, call

NO_MEMORY = ["torch", "old torch", "hip", "driver", "cublas", "jax", "tensorflow", "wrapped"]
LOST = ["assert", "illegal", "launch", "ecc", "code"]


def what(*texts):
    return pa.RecordBatch.from_pydict({"what": pa.array(texts)})


@pytest.fixture
def started():
    with Host() as host:
        host.start("devices:batched", FUNCTIONS, inputs=what("a").schema, value=pa.string(), env={})
        yield host


@pytest.mark.parametrize("kind", NO_MEMORY)
def test_a_full_device_is_told_and_its_cache_emptied(started, kind):
    answer = answer_of(started, what("a", kind))
    assert answer.raised["out_of_device_memory"]
    assert "device_lost" not in answer.raised
    assert not answer.raised["transient"]
    assert not answer.raised["rate_limited"]
    # The host goes on, with what was given back.
    assert answer_of(started, what("a")).values == ["torch"]


@pytest.mark.parametrize("kind", LOST)
def test_a_lost_device_ends_the_host_after_its_answer(started, kind):
    raised = answer_of(started, what("a", kind)).raised
    assert raised["device_lost"]
    assert "out_of_device_memory" not in raised
    assert started.close() == 3


@pytest.mark.parametrize(
    ("kind", "rate_limited"),
    [("host", False), ("quota", True), ("somebody", False), ("shape", False)],
)
def test_other_errors_are_not_the_devices(started, kind, rate_limited):
    raised = answer_of(started, what("a", kind)).raised
    assert "out_of_device_memory" not in raised
    assert "device_lost" not in raised
    assert raised["rate_limited"] == rate_limited
    assert answer_of(started, what("a")).values == [""]


def test_a_row_that_does_not_fit_fails_alone_and_a_lost_device_ends_the_call_before_its_row():
    with Host() as host:
        host.start("devices:scalar", FUNCTIONS, inputs=what("a").schema, value=pa.int64())
        answer = answer_of(host, what("a", "torch", "bb"))
        assert answer.values == [1, None, 2]
        assert answer.failed[0]["out_of_device_memory"]
        answer = answer_of(host, what("a", "bb", "assert", "ccc"))
        assert answer.values == [1, 2]
        assert answer.raised["device_lost"]
        assert host.close() == 3


def test_a_model_that_does_not_fit_says_so():
    with Host() as host, pytest.raises(StartFailed) as failed:
        host.start(
            "devices:Model",
            FUNCTIONS,
            inputs=pa.schema({"name": pa.string()}),
            value=pa.string(),
            env={"LOADS": "no"},
        )
    assert failed.value.error["out_of_device_memory"]


@pytest.mark.parametrize(
    ("share", "fractions", "jax", "cupy"),
    [("0.5", "[0.5, 0.5]", "0.450", "50%"), (None, "[]", None, None), ("half", "[]", None, None)],
)
def test_libraries_are_kept_to_the_share_of_the_device(share, fractions, jax, cupy):
    names = {"name": ["XLA_PYTHON_CLIENT_MEM_FRACTION", "CUPY_GPU_MEMORY_LIMIT"]}
    env = {} if share is None else {"LANCE_BACKFILL_DEVICE_SHARE": share}
    answer = call("devices:Model", names, pa.string(), env=env)
    assert answer.values == [f"{fractions} {jax}", f"{fractions} {cupy}"]
