"""`fit_distributed`: real processes of a gloo group learn the bytes that one process learns."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from c3align import C3Aligner, distributed
from c3align.distributed import fit_distributed
from c3align.errors import C3AlignError
from tests.children import Child

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="no gloo here"
)
KINDS = ["plain", "covariances", "nan", "settings"]
WORKERS = """
import os, sys
import numpy as np
import torch.distributed as dist
from c3align import C3Aligner
from c3align.distributed import fit_distributed
from c3align.errors import C3AlignError

folder, *kinds = sys.argv[1:]
rank = next((rank for rank in (1, 2) if os.fork() == 0), 0)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=3)
X, y = np.load(f"{folder}/x.npy"), np.load(f"{folder}/y.npy")
cuts = [0, 3, 3, len(X)]  # the middle process has no rows
part = slice(cuts[rank], cuts[rank + 1])
for kind in kinds:
    settings = {"covariances": {"second_moments": True}, "settings": {"seed": rank}}.get(kind, {})
    aligner, given = C3Aligner(**settings), X[part]
    if kind == "nan" and rank == 2:
        given = given * np.nan
    told = "learned"
    try:
        fit_distributed(aligner, given, y[part]).save_pretrained(f"{folder}/{kind}/{rank}")
    except C3AlignError as error:
        told = str(error)
    with open(f"{folder}/{kind}-{rank}", "w") as file:
        file.write(told)
if rank == 0:
    sys.exit(os.wait()[1] | os.wait()[1])
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Where three processes, forked from one that has imported torch, tell what they learned, and save it."""
    folder, rng = tmp_path_factory.mktemp("group"), np.random.default_rng(0)
    X = rng.standard_normal((500, 16)).astype(np.float32)
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", X + 0.3 * rng.standard_normal(X.shape).astype(np.float32) + 1)
    child = Child(WORKERS, folder, *KINDS)
    errors = child.communicate()[1]
    assert child.returncode == 0, errors
    return folder


def words(told, kind):
    return [(told / f"{kind}-{rank}").read_text() for rank in range(3)]


def alone(told, **settings):
    return C3Aligner(**settings).fit(np.load(told / "x.npy"), np.load(told / "y.npy"))


def test_the_bytes_of_one_process(told):
    assert words(told, "plain") == ["learned"] * 3
    for rank in range(3):
        assert (told / "plain" / str(rank) / "aligner.safetensors").read_bytes() == alone(told).to_bytes()


def test_covariances_within_their_tolerance(told):
    assert words(told, "covariances") == ["learned"] * 3
    found = [C3Aligner.from_pretrained(told / "covariances" / str(rank)) for rank in range(3)]
    assert found[0].to_bytes() == found[1].to_bytes() == found[2].to_bytes()
    one = alone(told, second_moments=True)
    assert found[0].statistics_ == one.statistics_
    for name, expected in one.second_moments_.items():
        assert found[0].second_moments_[name].covariance == pytest.approx(expected.covariance, abs=1e-12)


def test_an_error_of_one_is_told_by_all(told):
    found = words(told, "nan")
    assert len(set(found)) == 1
    assert found[0].startswith("process 2: X holds NaN")


def test_settings_that_differ(told):
    assert words(told, "settings") == ["the aligners' settings differ between processes; create them alike"] * 3


@pytest.mark.parametrize(
    ("backends", "bound", "rows_on", "expected"),
    [
        ("cpu:gloo,cuda:gloo", "cuda:1", "cuda:2", "cpu"),
        ("cpu:gloo,cuda:nccl", None, "cuda:2", "cpu"),
        ("cuda:nccl", "cuda:1", "cuda:2", "cuda:1"),
        ("cuda:nccl", None, "cuda:2", "cuda:2"),
        ("cuda:nccl", None, "cpu", "cuda:3"),
        ("cuda:nccl", None, "meta", "cuda:3"),
    ],
)
def test_bytes_go_through_a_device_that_the_backend_takes(backends, bound, rows_on, expected, monkeypatch):
    from torch._subclasses import FakeTensorMode

    group = SimpleNamespace(bound_device_id=bound and torch.device(bound))
    monkeypatch.setattr(torch.distributed, "get_backend_config", lambda asked: backends if asked is group else "")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    with FakeTensorMode():  # tensors of devices that are not here
        rows = torch.empty((2, 3), device=rows_on)
    assert distributed._device_of(group, rows) == torch.device(expected)


def test_no_group():
    with pytest.raises(C3AlignError, match="no process group"):
        fit_distributed(C3Aligner(), np.eye(3))
