"""Products of columns: against exact sums, any split, any backend, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c3align import ops
from c3align.covariance import CovarianceStatistics
from c3align.errors import C3AlignError
from c3align.ops import products
from c3align.statistics import ModalityStatistics
from tests import strategies
from tests.test_ops import as_dtype, bad_rows, plain_unit

WIDTHS = st.integers(1, 40)


@given(rows=strategies.blocks(dims=WIDTHS))
def test_against_wide_arithmetic(rows):
    unit = plain_unit(rows)
    bound = 1e-12 if rows.dtype == np.float64 else 3e-7  # float32 unit rows
    assert np.abs(ops.column_products(rows) - unit.T @ unit).max() < bound * len(rows)


@given(rows=strategies.blocks(dims=WIDTHS), dtype=st.sampled_from(strategies.DTYPES))
def test_of_the_rows_that_the_statistics_see(rows, dtype):
    """On the unit rows as computed the sums are float64's own; the diagonal is that of the exact squares."""
    X = as_dtype(rows, dtype)
    unit = ops.normalize(X if dtype == "float64" else X.float()).double().numpy().astype(np.longdouble)
    found = CovarianceStatistics.from_rows(X)
    assert np.abs(found.products - unit.T @ unit).max() < 1e-12 * len(rows)
    assert np.array_equal(np.diagonal(found.covariance), ModalityStatistics.from_rows(X).variance)
    expected = unit.T @ unit / len(rows) - np.outer(unit.mean(axis=0), unit.mean(axis=0))
    assert np.abs(found.covariance - expected).max() < 1e-11
    assert found.eigenvalues.sum() == pytest.approx(found.statistics.total_variance, abs=1e-10)
    assert found.problem() is None


@given(rows=strategies.blocks(min_rows=2, dims=WIDTHS), data=st.data())
def test_any_split_and_merge_tree(rows, data):
    parts = data.draw(strategies.partitions(len(rows)))
    found = data.draw(strategies.merged([CovarianceStatistics.from_rows(rows[part]) for part in parts]))
    whole = CovarianceStatistics.from_rows(rows)
    assert found.statistics == whole.statistics
    assert np.abs(found.products - whole.products).max() < 1e-12 * len(rows)
    left = whole - CovarianceStatistics.from_rows(rows[:1])
    assert left.statistics == ModalityStatistics.from_rows(rows[1:])
    assert np.abs(left.products - ops.column_products(rows[1:])).max() < 1e-12 * len(rows)


def test_blocks(monkeypatch):
    rows = np.random.default_rng(0).standard_normal((500, 8))
    whole = ops.column_products(rows)
    monkeypatch.setattr(products, "_BLOCK_ELEMENTS", 64)
    assert np.abs(ops.column_products(rows) - whole).max() < 1e-12
    assert np.abs(ops.column_products(torch.from_numpy(rows)) - whole).max() < 1e-12


def test_refusals_and_zero_rows():
    cases = bad_rows()
    with pytest.raises(C3AlignError, match="NaN or infinity"):
        ops.column_products(cases["nan"])
    with pytest.raises(C3AlignError, match="first in row 4"):
        CovarianceStatistics.from_rows(cases["zero"])
    kept = CovarianceStatistics.from_rows(cases["zero"], zero_rows="keep")
    expected = CovarianceStatistics.from_rows(np.delete(cases["zero"], [4, 7], axis=0))
    assert np.allclose(kept.covariance, expected.covariance, atol=1e-14)
    with pytest.raises(TypeError, match="cannot combine"):
        kept + expected.statistics
    with pytest.raises(C3AlignError, match="dimensions cannot be combined"):
        kept + CovarianceStatistics.empty(5)


def test_problems_are_seen():
    found = CovarianceStatistics.from_rows(np.random.default_rng(0).standard_normal((50, 4)))
    for change, text in [((0, 1), "not symmetric"), ((2, 2), "contradict")]:
        products = found.products.copy()
        products[change] += 0.1
        assert text in CovarianceStatistics(found.statistics, products).problem()
    assert "yet products" in CovarianceStatistics(ModalityStatistics.empty(4), found.products.copy()).problem()
    assert CovarianceStatistics.empty(4).problem() is None
