"""Computes statistics of real documents, and again as more of them arrive."""

import ast
import sys
import sysconfig
import tempfile
from pathlib import Path

import lance
import pyarrow as pa
from text_statistics import reading_ease, words

import lance_backfill

REPOSITORY = Path(__file__).resolve().parents[2]


def paragraphs() -> pa.Table:
    """The paragraphs of this repository's Markdown files."""
    files = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]
    texts = [
        (str(path.relative_to(REPOSITORY)), text.strip())
        for path in sorted(files)
        for text in path.read_text(encoding="utf-8").split("\n\n")
    ]
    return documents("paragraph", texts)


def docstrings() -> pa.Table:
    """The docstrings of the modules of Python's standard library; NULL for those without one."""
    library = Path(sysconfig.get_path("stdlib"))
    texts = [
        (path.stem, ast.get_docstring(ast.parse(path.read_bytes())))
        for path in sorted(library.glob("*.py"))
    ]
    return documents("docstring", texts)


def documents(kind: str, texts: list[tuple[str, str | None]]) -> pa.Table:
    """Documents as rows."""
    return pa.table(
        {
            "source": [source for source, _ in texts],
            "kind": [kind] * len(texts),
            "text": pa.array([text for _, text in texts], pa.string()),
        }
    )


def main(folder: Path) -> None:
    """Writes a table into a folder, and keeps two columns of it up to date."""
    uri = folder / "documents.lance"
    lance.write_dataset(paragraphs(), uri)
    table = lance_backfill.table(uri)

    table.add_columns(
        {"reading_ease": reading_ease},
        where="length(text) >= 40",
        env="current",
        # Code and tables are no English: as long as half of the texts are, all is well.
        max_failed_fraction=0.5,
    )
    table.add_columns({"words": words}, env="current")
    show("paragraphs of this repository", table.refresh())

    lance.write_dataset(docstrings(), uri, mode="append")
    show("docstrings of the standard library arrived", table.refresh())

    failed = table.failures("reading_ease")
    print(f"{failed.num_rows} rows failed, the first with: {failed['message'][0]}")
    for kind in ("paragraph", "docstring"):
        easiest = lance.dataset(uri).to_table(
            columns=["source", "words", "reading_ease"],
            filter=f"kind = '{kind}' AND words > 50 AND reading_ease IS NOT NULL",
        )
        (best,) = easiest.sort_by([("reading_ease", "descending")]).slice(0, 1).to_pylist()
        print(f"the {kind} that is easiest to read: {best}")


def show(what: str, refreshed: dict) -> None:
    """Prints what a refresh did."""
    print(f"{what}:")
    for column in refreshed["columns"]:
        print(
            f"  {column['column']}: {column['rows_assigned']} rows computed, "
            f"{column['rows_failed']} failed, {column['rows_filtered']} filtered"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
