"""Makes thumbnails of real pictures in a blob column, one of which is broken."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import lance
import pyarrow as pa
from thumbnails import height, thumbnail, width

import lance_backfill

WHEEL = "scikit-image==0.25.2"
KINDS = {".png", ".jpg", ".gif"}


def pictures() -> dict[str, bytes]:
    """The pictures by name, and half of a photograph, as a download leaves it that broke off."""
    found = {
        path.name: path.read_bytes()
        for path in sorted(sample_data().iterdir())
        if path.suffix in KINDS
    }
    whole = found["rocket.jpg"]
    return {**found, "broken.jpg": whole[: len(whole) // 2]}


def sample_data() -> Path:
    """The folder with the sample data of scikit-image, which is downloaded if need be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lance-backfill"
    folder = cache / "examples" / WHEEL
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
            # Its pictures alone are wanted: nothing of it is imported, so it needs nothing else.
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--target", draft, WHEEL]
            subprocess.run(command, check=True)
            shutil.copytree(Path(draft, "skimage/data"), folder)
    return folder


def main(folder: Path) -> None:
    """Writes a table into a folder, and computes three columns of it."""
    uri = folder / "pictures.lance"
    found = pictures()
    rows = pa.table(
        [pa.array(found), lance.blob_array(found.values())],
        schema=pa.schema([pa.field("name", pa.string()), lance.blob_field("picture")]),
    )
    lance.write_dataset(rows, uri, data_storage_version="2.2")
    table = lance_backfill.table(uri)

    sizes = {"width": width, "height": height, "thumbnail": thumbnail}
    table.add_columns(sizes, ["picture"], env="current", max_failed_rows=1)
    for column in table.refresh()["columns"]:
        print(
            f"{column['column']}: {column['rows_assigned']} rows computed, "
            f"{column['rows_failed']} failed"
        )

    (failed,) = table.failures().to_pylist()
    print(f"row {failed['offset']} of {failed['column']!r}: {failed['kind']}: {failed['message']}")
    made = lance.dataset(uri).to_table(columns=["name", "width", "height", "thumbnail"])
    for row in made.to_pylist():
        small = row["thumbnail"]
        size = "none" if small is None else f"{len(small):,} bytes"
        print(f"{row['name']}: {row['width']} x {row['height']}, thumbnail {size}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
