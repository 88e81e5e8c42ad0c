"""A table on S3 with a column of a function that asks for a device."""

import json
import subprocess
import sys
import textwrap

import lance
import pyarrow as pa

from on_ray.deployment import BUCKET, IMAGE, SERVICE

CODE = """
    import json, os, time
    import pyarrow as pa
    import pyarrow.compute as pc
    from lance_backfill import udf

    def note(**fields):
        with open({notes!r}, "a") as file:
            file.write(json.dumps(fields | {{"pid": os.getpid(), "at": time.time()}}) + "\\n")

    @udf(data_type=pa.int64(), batch_size=1000, num_gpus=1)
    class Doubled:
        def __init__(self):
            note(event="load", devices=os.environ.get("CUDA_VISIBLE_DEVICES"))

        def __call__(self, id: pa.Array) -> pa.Array:
            note(event="call", first=id[0].as_py(), rows=len(id))
            {also}
            time.sleep({seconds})
            note(event="return", first=id[0].as_py())
            return pc.multiply(id, 2)
"""


class Column:
    """A table with a column of a function that asks for a device."""

    def __init__(self, service, folder, binary, seconds, also="pass"):
        self.service, self.rows = service, 0
        self.uri = f"s3://{BUCKET}/{folder.name}.lance"
        self._notes = folder / "notes"
        code = folder / "models.py"
        filled = CODE.format(notes=str(self._notes), seconds=seconds, also=also)
        code.write_text(textwrap.dedent(filled))
        self.append(40)
        words = ["column", "add", self.uri, "double", "--udf", "models:Doubled"]
        more = ["--pool", "gpu", "--from", code, "--env", f"image:{IMAGE}", "--service", SERVICE]
        done = subprocess.run(
            [binary, *words, *more, "--cache", folder / "cache", "--interpreter", sys.executable],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    def append(self, count):
        data = pa.table({"id": list(range(self.rows, self.rows + count))})
        mode = "append" if self.rows else "create"
        lance.write_dataset(data, self.uri, mode=mode, storage_options=self.service.options)
        self.rows += count

    def values(self):
        dataset = lance.dataset(self.uri, storage_options=self.service.options)
        return {row["id"]: row["double"] for row in dataset.to_table().to_pylist()}

    def wait_filled(self, seconds=120):
        wanted = {one: 2 * one for one in range(self.rows)}
        self.service.eventually(lambda: self.values() == wanted, seconds)

    def noted(self, event):
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return [one for one in map(json.loads, lines) if one["event"] == event]
