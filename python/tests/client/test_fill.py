"""What is to be computed, what was, and what failed."""

import pyarrow as pa
import pytest
import texts as functions

from client.conftest import values
from lance_backfill import BackfillError


def test_plan_and_status(texts):
    texts.add_columns({"n": functions.words}, env="current", max_failed_rows=1)
    (planned,) = texts.plan()["columns"]
    assert (planned["rows_planned"], planned["rows_by_reason"]["unassigned"]) == (6, 6)
    assert texts.plan("n", where="at < 2")["columns"][0]["rows_planned"] == 2
    (status,) = texts.status()["columns"]
    assert (status["state"], status["rows_remaining"]) == ("in need", 6)


def test_canary(texts):
    texts.add_columns({"n": functions.words}, env="current", max_failed_rows=1, backfill=True)
    tried = texts.canary("n", functions.lengths, rows=6, env="current", cost_per_hour=3600)
    assert (tried["rows_tried"], tried["present"]["rows_failed"]) == (6, 1)
    assert tried["changed"]["estimate"]["cost"]["expected"] > 0
    same = [row["inputs"] for row in tried["rows"] if not row["differs"]]
    assert same == [{"text": None}, {"text": ""}]
    by_offset = {row["offset"]: row for row in tried["rows"]}
    assert by_offset[0]["present"] == {"value": "2"}
    assert by_offset[0]["changed"] == {"value": "7"}
    assert by_offset[3]["present"] == {"error": "ValueError: this text has no words"}
    assert values(texts, "n") == [2, None, 1, None, 3, 0]


def test_part_of_a_column(texts):
    texts.add_columns({"n": functions.words}, env="current", max_failed_rows=1)
    first = texts.backfill("n", where="starts_with(text, 't')")
    assert (first["rows_selected"], first["job_state"]) == (1, "done")
    assert values(texts, "n") == [None, None, 1, None, None, None]
    again = texts.backfill("n", where="at = 2")
    assert (again["job_id"], again["rows_selected"]) == (None, 0)
    assert texts.backfill("n", where="at = 2", recompute=True)["rows_selected"] == 1
    generation = texts.status()["columns"][0]["generation"]
    by_maker = texts.plan("n", generation=generation, recompute=True)
    assert by_maker["columns"][0]["rows_planned"] == 1
    by_job = texts.backfill("n", job=first["job_id"], recompute=True)
    assert by_job["rows_selected"] == 0
    rest = texts.refresh("n")
    assert (rest["columns"][0]["rows_assigned"], rest["columns"][0]["rows_failed"]) == (4, 1)


def test_failures_and_retry(texts):
    texts.add_columns({"n": functions.words, "up": "upper(text)"}, env="current", max_failed_rows=1)
    texts.refresh()
    failed = texts.failures()
    assert failed.select(["column", "fragment", "offset", "kind", "message"]).to_pylist() == [
        {
            "column": "n",
            "fragment": 0,
            "offset": 3,
            "kind": "ValueError",
            "message": "this text has no words",
        }
    ]
    assert "in words" in failed["traceback"][0].as_py()
    assert failed["row_id"].null_count == 1
    assert failed.schema.field("attempts").type == pa.uint32()
    assert texts.failures("up").num_rows == 0
    retried = texts.retry("n")
    assert (retried["rows_selected"], retried["rows_failed_in_job"]) == (1, 1)
    texts.alter_columns({"n": functions.lengths}, env="current")
    assert texts.refresh()["columns"][0]["rows_failed"] == 0
    assert values(texts, "n")[3] == 5


def test_exceeded_budget(texts):
    texts.add_columns({"n": functions.words}, env="current", on_error="fail")
    with pytest.raises(BackfillError, match="error budget exceeded") as error:
        texts.backfill("n")
    assert error.value.exit_code == 1
    assert error.value.result["rows_failed_in_job"] == 1


def test_function_that_cannot_be_called(texts):
    texts.add_columns({"n": functions.Unloadable}, env="current", where="at = 0")
    with pytest.raises(BackfillError) as error:
        texts.backfill("n")
    assert "the function cannot be called: " in str(error.value)
    assert "there is no model here" in str(error.value)
    assert "in __init__" in error.value.detail
    assert error.value.result["job_state"] == "open"
    assert texts.status()["columns"][0]["rows_remaining"] == 1


def test_first_fill_that_fails_is_told(texts):
    with pytest.raises(BackfillError) as error:
        texts.add_columns({"n": functions.words}, env="current", on_error="fail", backfill=True)
    (declared,) = error.value.result
    assert declared["backfill"]["rows_failed_in_job"] == 1
