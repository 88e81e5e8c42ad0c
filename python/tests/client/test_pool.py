"""The manifest that is shown is the one that a pool file gives."""

import subprocess
from pathlib import Path

K8S = Path(__file__).parents[3] / "k8s"


def test_sample_is_what_the_pool_file_of_its_overlay_gives(binary):
    words = ["pool", "plan", "--offline", "overlays/eks/pool.yaml"]
    said = subprocess.run([binary, *words], cwd=K8S, capture_output=True, text=True, check=True)
    sample = (K8S / "samples/raycluster.yaml").read_text()
    head, manifest = sample.split("apiVersion:", 1)
    assert all(line.startswith("# ") for line in head.splitlines())
    assert said.stdout == f"apiVersion:{manifest}", "write it anew: its head says how"
