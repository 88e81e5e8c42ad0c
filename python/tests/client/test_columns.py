"""Columns are declared, changed and dropped by the binary, from live functions and SQL."""

import sys
import textwrap

import lance
import pyarrow as pa
import pytest
import texts as functions

import lance_backfill
from client.conftest import TEXTS, values
from lance_backfill import BackfillError, BadInput

WORDS = [2, None, 1, None, 3, 0]


def test_scalar_function_and_sql(texts):
    declared = texts.add_columns(
        {"n": functions.words, "up": "upper(text)"},
        where="at < 5",
        env="current",
        max_failed_rows=1,
    )
    assert [column["column"] for column in declared] == ["n", "up"]
    assert declared[0]["definition"]["function"]["entrypoint"] == "texts:words"
    assert declared[0]["definition"]["filter"] == "at < 5"
    assert lance.dataset(texts.uri).to_table()["n"].null_count == 6
    texts.refresh()
    assert values(texts, "n") == [2, None, 1, None, 3, None]
    assert values(texts, "up") == ["ONE TWO", None, "THREE", "FAILS", "FOUR FIVE SIX", None]


def test_inputs_and_first_fill(open_table):
    table = open_table({"prompt": ["a b", "c"]})
    (declared,) = table.add_columns(
        {"n": functions.words}, ["prompt"], backfill=True, env="current"
    )
    assert declared["backfill"]["rows_selected"] == 2
    assert declared["backfill"]["job_state"] == "done"
    assert values(table, "n") == [2, 1]


def test_batched_function_and_class(texts):
    texts.add_columns(
        {"l": functions.lengths, "c": functions.Counter}, backfill=True, env="current"
    )
    assert values(texts, "l") == [None if text is None else len(text) for text in TEXTS]
    assert values(texts, "c") == [1, 2, 3, 4, 5, 6]


def test_several_columns_of_one_function(texts):
    texts.add_columns({("words", "letters"): functions.size}, where="at = 0", env="current")
    texts.backfill("words")
    assert (values(texts, "words")[0], values(texts, "letters")[0]) == (2, 7)


def test_undecorated_function_of_a_script(texts):
    def half(at: int) -> float:
        return at / 2

    texts.add_columns({"half": half}, backfill=True, env="current")
    assert values(texts, "half") == [0, 0.5, 1, 1.5, 2, 2.5]


def test_function_of_a_notebook_cell(texts):
    cell = """
        import lance_backfill

        SUFFIX = "!"

        def shout(text):
            return text + SUFFIX

        @lance_backfill.udf
        def loud(text: str) -> str:
            return shout(text)
    """
    scope = as_cell(cell)
    texts.add_columns({"loud": scope["loud"]}, where="at = 0", backfill=True, env="current")
    assert values(texts, "loud")[0] == "one two!"


def as_cell(text):
    """Runs source as IPython does: in `__main__`-like globals, with lines that inspect can find."""
    import linecache

    text = textwrap.dedent(text)
    name = "<ipython-input-1-0123456789ab>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    module = type(sys)("__main__")
    main, sys.modules["__main__"] = sys.modules["__main__"], module
    try:
        exec(compile(text, name, "exec"), vars(module))
        module.loud.__globals__["__name__"] = "__main__"
        return vars(module)
    finally:
        sys.modules["__main__"] = main


def test_registered_function(texts):
    registered = texts.register(functions.lengths, env="current")
    assert registered["output_type"] == "int64"
    texts.add_columns({"l": registered, "m": registered}, backfill=True)
    assert values(texts, "l") == values(texts, "m") == [7, None, 5, 5, 13, 0]


def test_change_of_function_and_filter(texts):
    texts.add_columns({"n": functions.lengths}, backfill=True, env="current")
    (altered,) = texts.alter_columns({"n": functions.Counter}, env="current")
    assert altered["on_change"] == "only_new"
    assert altered["rows_stale_if_recompute_all"] == 6
    texts.refresh("n")
    assert values(texts, "n") == [7, None, 5, 5, 13, 0]
    texts.alter_columns("n", on_change="recompute_all")
    texts.refresh("n")
    assert values(texts, "n") == [1, 2, 3, 4, 5, 6]
    (filtered,) = texts.alter_columns("n", where="at > 1")
    assert filtered["definition"]["filter"] == "at > 1"
    (unfiltered,) = texts.alter_columns(["n"], where=None)
    assert unfiltered["definition"]["filter"] is None


def test_drop(texts):
    texts.add_columns({"a": "at + 1", "b": "at + 2"}, backfill=True)
    assert [column["column"] for column in texts.columns()] == ["a", "b"]
    assert texts.drop_columns("a")[0]["values_dropped"] is False
    texts.drop_columns(["b"], drop_values=True)
    assert texts.columns() == []
    assert lance.dataset(texts.uri).schema.names == ["at", "text", "a"]


def test_operating(texts):
    texts.add_columns({"n": functions.words}, env="current", max_failed_rows=1)
    assert texts.pause(duration="1h")["paused_for_ms"] > 3_000_000
    with pytest.raises(BackfillError, match=r"computed, and not published: .*paused") as error:
        texts.refresh("n")
    assert error.value.exit_code == 1
    assert error.value.result["columns"][0]["rows_remaining"] == 6
    assert texts.resume() == {"table": texts.uri, "was_paused": True}
    texts.pause("n")
    assert texts.status()["columns"][0]["state"] == "paused"
    texts.resume("n")
    assert texts.approve("n")["was_held"] is False
    assert texts.status()["columns"][0]["state"] == "in need"


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"n": "nothing + 1"}, {}, "nothing"),
        ({"n": 5}, {}, "a column is computed by a function or a SQL text, not by a int"),
        ({"n": "at"}, {"env": "current"}, "env, requirements, target and python are for"),
        ({"n": "at"}, {"inputs": ["at"]}, "there is none"),
        ({"n": functions.words}, {"inputs": "text"}, "a list of column names"),
        ({"n": functions.words}, {"env": "mars"}, "env='mars' is neither"),
        ({"n": functions.words}, {"inputs": ["a,b"]}, "the column name 'a,b' has a comma"),
        ({("a,b", "c"): functions.size}, {}, "the column name 'a,b' has a comma"),
        ({"n": functions.words}, {"data_type": "int64"}, "@udf(data_type=...) above it"),
        ({"n": "at"}, {"code": "."}, "code, env, requirements, target and python are for"),
        ({"n": functions.words}, {"inputs": ["nope"], "env": "current"}, "nope"),
        ({"n": "at"}, {"where": "at >"}, "does not parse"),
        ({"n": "at"}, {"on_error": "ignore"}, "ignore"),
        ({"at": "at"}, {}, "at"),
    ],
)
def test_bad_input_changes_nothing(texts, columns, options, message):
    before = lance.dataset(texts.uri).version
    with pytest.raises(BadInput) as error:
        texts.add_columns(columns, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2
    assert not error.value.result
    assert isinstance(error.value, (BackfillError, ValueError))
    assert lance.dataset(texts.uri).version == before


def test_what_was_declared_before_an_error_is_told(texts):
    with pytest.raises(BadInput) as error:
        texts.add_columns({"a": "at + 1", "b": "nothing"})
    assert [column["column"] for column in error.value.result] == ["a"]
    assert [column["column"] for column in texts.columns()] == ["a"]


def test_no_table(binary, tmp_path):
    table = lance_backfill.table(tmp_path / "none.lance", binary=binary)
    with pytest.raises(BadInput, match="there is no Lance table at"):
        table.status()


def test_values_that_look_like_options(open_table):
    table = open_table({"a-b": [1, -2]})
    table.add_columns({"-n": "-`a-b`"}, where="-`a-b` < 5", backfill=True)
    assert values(table, "-n") == [-1, 2]


def test_storage_options_and_branch_reach_the_binary(texts, binary):
    table = lance_backfill.table(
        texts.uri, binary=binary, branch="no-such-branch", storage_options={"aws_region": "a=b"}
    )
    with pytest.raises(BackfillError, match="no-such-branch"):
        table.status()


def test_appended_rows_get_their_values(texts):
    texts.add_columns({"n": functions.words}, env="current", max_failed_rows=1, backfill=True)
    lance.write_dataset(
        pa.table({"at": [6, 7], "text": ["seven", "x y"]}), texts.uri, mode="append"
    )
    assert texts.refresh("n")["columns"][0]["rows_assigned"] == 2
    assert values(texts, "n") == [*WORDS, 1, 2]


def test_code_alone_or_a_named_folder(open_table, tmp_path, monkeypatch, caplog):
    root = tmp_path / "root"
    root.mkdir()
    (root / "words.txt").write_text("b")
    (root / "ours_with_data.py").write_text(
        "from pathlib import Path\n"
        "def known(text: str) -> bool:\n"
        "    return text in Path(__file__).with_name('words.txt').read_text()\n"
    )
    monkeypatch.syspath_prepend(root)
    import ours_with_data

    table = open_table({"text": ["a", "b"]})
    declared = table.add_columns({"n": ours_with_data.known}, env="current", max_failed_rows=2)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the code names words.txt, and only code is packed" in caplog.text
    table.refresh()
    assert len(table.failures("n")) == 2
    table.add_columns({"m": ours_with_data.known}, code=root, env="current", backfill=True)
    assert values(table, "m") == [False, True]
    (altered,) = table.alter_columns({"n": ours_with_data.known}, code=root, env="current")
    assert altered["definition"]["function"] != declared[0]["definition"]["function"]
    sys.modules.pop("ours_with_data")


def test_code_of_a_function_without_a_module(texts):
    with pytest.raises(BadInput, match="is packed as source, without any folder"):
        texts.add_columns({"n": lambda text: 1}, code=".")
