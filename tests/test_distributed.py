"""`fit_distributed`: real processes of a gloo group learn the bytes that one process learns."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from c3align import C3Aligner
from c3align.distributed import fit_distributed
from c3align.errors import C3AlignError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="no gloo here"
)
WORKER = """
import sys
import numpy as np
import torch.distributed as dist
from c3align import C3Aligner
from c3align.distributed import fit_distributed
from c3align.errors import C3AlignError

folder, rank, world, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
X, y = np.load(f"{folder}/x.npy"), np.load(f"{folder}/y.npy")
cuts = [0, 3, 3, len(X)]  # the middle process has no rows
part = slice(cuts[rank], cuts[rank + 1])
settings = {"covariances": {"second_moments": True}, "settings": {"seed": rank}}.get(kind, {})
aligner, given = C3Aligner(**settings), X[part]
if kind == "nan" and rank == 2:
    given = given * np.nan
try:
    fit_distributed(aligner, given, y[part])
    aligner.save_pretrained(f"{folder}/{rank}")
    print("learned")
except C3AlignError as error:
    print(error)
"""


def run(tmp_path, kind):
    """What three processes print, and where their aligners are."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", X + 0.3 * rng.standard_normal(X.shape).astype(np.float32) + 1)
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    workers = [
        subprocess.Popen([*command, str(rank), "3", kind], stdout=subprocess.PIPE, text=True) for rank in range(3)
    ]
    return [worker.communicate(timeout=100)[0].strip().splitlines()[-1] for worker in workers]


def test_the_bytes_of_one_process(tmp_path):
    assert run(tmp_path, "plain") == ["learned"] * 3
    alone = C3Aligner().fit(np.load(tmp_path / "x.npy"), np.load(tmp_path / "y.npy")).to_bytes()
    for rank in range(3):
        assert (tmp_path / str(rank) / "aligner.safetensors").read_bytes() == alone


def test_covariances_within_their_tolerance(tmp_path):
    assert run(tmp_path, "covariances") == ["learned"] * 3
    alone = C3Aligner(second_moments=True).fit(np.load(tmp_path / "x.npy"), np.load(tmp_path / "y.npy"))
    found = [C3Aligner.from_pretrained(tmp_path / str(rank)) for rank in range(3)]
    assert found[0].to_bytes() == found[1].to_bytes() == found[2].to_bytes()
    assert found[0].statistics_ == alone.statistics_
    for name, expected in alone.second_moments_.items():
        assert found[0].second_moments_[name].covariance == pytest.approx(expected.covariance, abs=1e-12)


def test_an_error_of_one_is_told_by_all(tmp_path):
    found = run(tmp_path, "nan")
    assert len(set(found)) == 1
    assert found[0].startswith("process 2: X holds NaN")


def test_settings_that_differ(tmp_path):
    assert run(tmp_path, "settings") == ["the aligners' settings differ between processes; create them alike"] * 3


def test_no_group():
    with pytest.raises(C3AlignError, match="no process group"):
        fit_distributed(C3Aligner(), np.eye(3))
