"""Samples of rows: the same for any split, order and device, fair, and honest about what they hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3align import ops, sample
from c3align.errors import C3AlignError
from c3align.ops import arrays
from c3align.sample import RowSample, row_keys
from tests import strategies
from tests.test_ops import as_dtype, bad_rows


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a))


@given(rows=strategies.blocks(), data=st.data(), size=st.integers(1, 50))
def test_any_split_and_merge_tree_is_the_whole_to_the_bit(rows, data, size):
    groups = np.arange(len(rows)) // 3
    parts = data.draw(strategies.partitions(len(rows)))
    samples = [RowSample.from_rows(rows[part], groups=groups[part], size=size) for part in parts]
    found = data.draw(strategies.merged(samples))
    whole = RowSample.from_rows(rows, groups=groups, size=size)
    assert same(found, whole)
    assert same(found + RowSample.empty(rows.shape[1], size=size), whole)
    assert found.problem() is None
    unit = ops.normalize(rows.astype(np.float64 if rows.dtype == np.float64 else np.float32)).astype(np.float32)
    assert len(found.rows) == min(size, len(np.unique(unit, axis=0)))
    assert {row.tobytes() for row in found.rows} <= {row.tobytes() for row in unit}


@given(rows=strategies.blocks(), dtype=st.sampled_from(strategies.DTYPES))
def test_tensors_and_devices_give_the_same_keys(rows, dtype):
    X = as_dtype(rows, dtype)
    whole = RowSample.from_rows(X)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "is_on_device", arrays.is_tensor)
        assert same(RowSample.from_rows(X), whole)
        assert np.array_equal(row_keys(X), row_keys(arrays.as_rows(X).widened()))


def test_keys_are_of_directions_and_differ_with_any_bit():
    rows = np.random.default_rng(0).standard_normal((100, 7)).astype(np.float32)
    assert np.array_equal(row_keys(rows), row_keys(4 * rows))
    for exotic in (np.eye(1025), np.sign(np.random.default_rng(0).standard_normal((20_000, 48))), rows):
        unit = np.unique(exotic, axis=0)
        assert len(np.unique(row_keys(unit))) == len(unit)
    one = np.repeat(rows[:1] / np.linalg.norm(rows[0]), 8, axis=0)
    one[np.arange(1, 8), np.arange(1, 8) % 7] = np.nextafter(one[0, np.arange(1, 8) % 7], 2)
    assert len(np.unique(row_keys(one))) == 8


def test_it_is_fair():
    """Every row is as likely to be kept, whatever it looks like: means of the sample and of the rest agree."""
    rows = np.abs(np.random.default_rng(0).standard_normal((20_000, 6)))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    error = unit.std(axis=0) / np.sqrt(1024)
    assert (np.abs(RowSample.from_rows(rows).rows.mean(axis=0) - unit.mean(axis=0)) < 4 * error).all()
    kept = np.isin(row_keys(rows), RowSample.from_rows(rows).keys)
    assert abs(kept[:10_000].sum() - 512) < 4 * np.sqrt(256)


def test_pairs_share_a_group():
    text, image = np.random.default_rng(0).standard_normal((2, 50, 4))
    ids = row_keys(text)
    a, b = RowSample.from_rows(text), RowSample.from_rows(image, groups=ids)
    assert np.array_equal(a.groups, a.keys)
    assert set(b.groups) == set(a.groups)
    repeated = RowSample.from_rows(np.repeat(text[:1], 3, axis=0), groups=[7, 5, 6])
    assert repeated.groups.tolist() == [5]


def test_the_smaller_size_of_two():
    rows = np.random.default_rng(0).standard_normal((50, 4))
    merged = RowSample.from_rows(rows[:30], size=9) + RowSample.from_rows(rows[30:], size=20)
    assert same(merged, RowSample.from_rows(rows, size=9))


def test_refusals_and_zero_rows():
    cases = bad_rows()
    with pytest.raises(C3AlignError, match="NaN or infinity"):
        RowSample.from_rows(cases["nan"])
    with pytest.raises(C3AlignError, match="first in row 4"):
        RowSample.from_rows(cases["zero"])
    kept = RowSample.from_rows(cases["zero"], zero_rows="keep")
    assert same(kept, RowSample.from_rows(np.delete(cases["zero"], [4, 7], axis=0)))
    for groups in ([1, 2], np.ones(10)):
        with pytest.raises(C3AlignError, match="groups must be"):
            RowSample.from_rows(np.eye(10), groups=groups)
    for size in (0, True, 2.5):
        with pytest.raises(C3AlignError, match="size must be"):
            RowSample.from_rows(np.eye(10), size=size)
    with pytest.raises(C3AlignError, match="dimensions cannot be combined"):
        kept + RowSample.empty(kept.n_dims + 1)
    with pytest.raises(TypeError, match="cannot combine"):
        kept.merge(3)


def test_problems_are_seen():
    found = RowSample.from_rows(np.random.default_rng(0).standard_normal((50, 4)))
    other = RowSample.from_rows(np.random.default_rng(1).standard_normal((50, 4)))
    ends = found.rows[[0, -1]]  # keys so far apart that their difference is beyond an int64
    assert int(row_keys(ends)[1]) - int(row_keys(ends)[0]) > 2**63
    assert RowSample.from_rows(ends).problem() is None
    for change, text in [
        ({"size": 49}, "more rows"),
        ({"groups": found.groups[1:]}, "different lengths"),
        ({"rows": 2 * found.rows}, "norm 1"),
        ({"rows": found.rows * np.float32(np.nan)}, "norm 1"),
        ({"rows": other.rows}, "not those of its rows"),
        ({"keys": found.keys[::-1], "rows": found.rows[::-1]}, "not those of its rows"),
    ]:
        assert text in RowSample(**{**vars(found), **change}).problem()
    with pytest.raises(ValueError, match="read-only"):
        found.rows[0] = 0
