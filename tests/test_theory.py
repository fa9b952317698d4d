"""The theory benchmark: its steps are the gradient's, it survives a kill, and what is committed is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import _lemmas
import numpy as np
import pytest

from c3align import geometry
from tests import tiny_encoders

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / "paper"
COMMITTED = ROOT / "benchmarks" / "results" / "theory.json"


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import _theory_training

    return _theory_training


def test_quick(tmp_path, run_here):
    tiny_encoders.import_torchvision()
    program, target, picture = "benchmarks/paper/theory.py", tmp_path / "theory.json", tmp_path / "theory.png"
    done = run_here(program, "--quick", "--json", target, "--plot", picture)
    assert done.returncode == 0, done.stderr
    for words in ("Figure 3", "Figure 4", "Figure 5", "encoders never trained", "MLP spectrum"):
        assert words in done.stdout
    parts = json.loads(target.read_text())["parts"]
    assert list(parts) == ["figure3", "figure4", "draws", "figure5", "encoders", "mlp"]
    first, *_, last = parts["figure4"]["found"]["records"]
    assert last["loss"] < first["loss"] - 1
    assert abs(last["gap_ineffective"] - first["gap_ineffective"]) < 0.01
    low, high = parts["figure5"]["found"]
    assert low["entered"]["step"] < 400
    assert high["entered"] is None
    assert low["end"]["residual"] > 10 * high["end"]["residual"]
    assert {record["name"].split()[0] for record in parts["encoders"]["found"]} == {"open_clip,", "transformers"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 50_000
    # started again nothing is run again
    before = target.read_text()
    again = run_here(program, "--quick", "--json", target)
    assert again.stdout == done.stdout
    assert target.read_text() == before


def test_steps_follow_the_closed_form(training):
    setting = training.Setting(n_pairs=30, n_dims=24, effective=(4, 8))
    x, y = (rows.astype(np.float64) for rows in training.start(setting))
    expected = _lemmas.contrastive_gradient(x, y, setting.tau)
    before, loss = (x.copy(), y.copy()), _lemmas.contrastive_loss(x, y, setting.tau)
    assert training.descend(x, y, setting.tau, 0.1) == pytest.approx(loss, rel=1e-12)
    for rows, start, gradient in zip((x, y), before, expected):
        assert np.abs((start - rows) / 0.1 - gradient).max() < 1e-12


def test_start_is_what_the_notebook_draws(training):
    x, y = training.start(training.Setting())
    for rows, used in ((x, slice(0, 25)), (y, slice(25, 255))):
        spread = rows.std(axis=0)
        assert (spread[used] > 0.8).all()
        assert not np.delete(np.ptp(rows, axis=0), np.r_[used]).any()
    assert np.linalg.norm(geometry.gap_vector(x, y)) == pytest.approx(1.2255, abs=0.05)


def test_fewer_dimensions_hold_the_same_training(training):
    setting = training.Setting(n_pairs=30, n_dims=64, effective=(4, 8))
    wide = [rows.astype(np.float64) for rows in training.start(setting)]
    narrow = training.compressed(*wide, setting)
    assert narrow[0].shape == (30, 14)
    for _ in range(50):
        for pair in (wide, narrow):
            training.descend(*pair, setting.tau, 1.0)
    expected = training.measured(*wide, setting)
    assert expected["loss"] < 3
    for name, value in training.measured(*narrow, setting).items():
        assert value == pytest.approx(expected[name], abs=1e-6)
    for rows, back in zip(wide, training.expanded(*narrow, setting)):
        assert np.abs(rows - back).max() < 1e-6  # the basis is of float32


def test_figure_4_survives_a_kill(training, tmp_path, monkeypatch):
    setting = training.Setting(n_pairs=20, n_dims=16, effective=(3, 5))
    whole = training.figure_4(setting, 40, 10, None)
    checkpoint, descend, left = tmp_path / "c.npz", training.descend, [25]

    def killed(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return descend(*arguments)

    monkeypatch.setattr(training, "descend", killed)
    with pytest.raises(KeyboardInterrupt):
        training.figure_4(setting, 40, 10, checkpoint)
    monkeypatch.setattr(training, "descend", descend)
    assert training.figure_4(setting, 40, 10, checkpoint) == whole
    with pytest.raises(SystemExit, match="at step 40 already"):
        training.figure_4(setting, 30, 10, checkpoint)


class TestCommitted:
    """The figures of the paper, as the committed run found them."""

    @pytest.fixture
    def found(self):
        return {name: part["found"] for name, part in json.loads(COMMITTED.read_text())["parts"].items()}

    def test_figure_3(self, found):
        part = found["figure3"]
        assert (part["image"], part["text"]) == ("25 of 512 (0.3154 of 0.3186)", "230 of 512 (0.3332 of 0.3365)")
        assert part["gap"] == pytest.approx(1.1361, abs=5e-5)
        assert np.mean(part["gaps"]) == pytest.approx(1.00047, abs=0.01)
        assert (min(part["gaps"]), max(part["gaps"])) == pytest.approx((0.9, 1.1), abs=0.03)

    def test_figure_4(self, found):
        records = {record["step"]: record for record in found["figure4"]["records"]}
        assert records[0]["loss"] == pytest.approx(6.2668, abs=0.02)
        assert records[20_000]["loss"] == pytest.approx(5.3951, abs=0.1)  # draws fall at speeds 7 % apart
        for step, loss, share in ((40_000, 4.5556, 0.9876), (60_000, 3.7267, 0.9716), (80_000, 2.9196, 0.9501)):
            assert records[step]["loss"] == pytest.approx(loss, abs=0.25)
            assert records[step]["gap_ineffective"] / records[0]["gap_ineffective"] == pytest.approx(share, abs=0.01)
        assert min(record["gap_ineffective"] for step, record in records.items() if step <= 20_000) > 0.99

    def test_other_draws(self, found):
        ends = [record["end"]["loss"] for record in found["draws"]]
        assert len(ends) >= 3
        assert abs(np.mean(ends) - 5.3951) < 2 * np.std(ends)
        for record in found["draws"]:
            assert record["end"]["gap_ineffective"] > 0.99 * record["start"]["gap_ineffective"]

    def test_figure_5(self, found):
        ends = [record["end"] for record in found["figure5"]]
        for record in found["figure5"]:
            entered = record["entered"]
            assert (entered is None) == (record["end"]["inside"] < 1)
            assert entered is None or entered["loss"] <= 0.01
        residuals = [end["residual"] for end in ends]
        assert residuals[0] > 0.4
        assert residuals[-1] < 0.01
        assert residuals[:6] == sorted(residuals, reverse=True)[:6]
        assert [end["inside"] for end in ends if end["required"] > 2] == [0] * sum(end["required"] > 2 for end in ends)

    def test_encoders(self, found):
        names = {record["name"] for record in found["encoders"]}
        assert {"open_clip ViT-B-32", "open_clip RN50", "transformers CLIP ViT-B/32"} <= names
        for record in found["encoders"]:
            bound = 0.11 if "small" in record["name"] else 0.02
            assert record["gap"] == pytest.approx(record["orthogonal_means"], abs=bound)
            assert 0.75 < record["predicted"] <= record["predicted_with_sides"] < 2**0.5

    def test_mlp(self, found):
        part = found["mlp"]
        paper = (504, 306, 249, 205, 182, 153, 136, 113, 94, 91)
        for mean, std, theirs in zip(part["mean"], part["std"], paper):
            assert abs(mean - theirs) < 3 + 2 * std
