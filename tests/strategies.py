"""Every hypothesis strategy of the tests: rows as people have them, and as nobody should."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from c3align.ops import reference
from c3align.ops.rowmap import NO_NOISE, Noise, NoiseRequest, RowMap

DTYPES = ("float16", "bfloat16", "float32", "float64")
DIMS = st.one_of(
    st.integers(1, 40),
    st.sampled_from([63, 64, 127, 128, 129, 255, 512, 767, 1023, 1024, 1025, 2049, 4096]),
)
SEEDS = st.integers(0, 2**64 - 1)
ROW_OFFSETS = st.one_of(st.integers(0, 1000), st.sampled_from([2**32 - 3, 2**32, 2**40, 2**64 - 100]))


@st.composite
def blocks(draw, *, min_rows: int = 1, max_rows: int = 40, dims=DIMS, dtype=None) -> np.ndarray:
    """Rows (n, d) in float64, float32 or float16: normals with outlier columns, norms over decades, one-hot, equal."""
    n_rows, n_dims = draw(st.integers(min_rows, max_rows)), draw(dims)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.standard_normal((n_rows, n_dims)) + rng.standard_normal(n_dims)
    kind = draw(st.sampled_from(["plain", "outlier", "one-hot", "equal", "antipodal"]))
    if kind == "outlier":
        rows[:, rng.integers(n_dims)] *= 50
    elif kind == "one-hot":
        rows = np.eye(n_dims)[rng.integers(n_dims, size=n_rows)]
    elif kind == "equal":
        rows[:] = rows[:1]
    elif kind == "antipodal":
        rows[1::2] = -rows[: n_rows - n_rows % 2 : 2][: len(rows[1::2])]
    name = dtype or draw(st.sampled_from(["float16", "float32", "float64"]))
    decades = {"float16": 1, "float32": 12, "float64": 12}[name]
    rows = rows * 10.0 ** rng.uniform(-decades, decades, (n_rows, 1))
    rows = rows.astype(name)
    rows[~rows.any(axis=1)] = 1  # float16 may round a whole row to zero
    return rows


@st.composite
def layouts(draw, rows: np.ndarray) -> np.ndarray:
    """The same values in other memory: reversed, strided, transposed, off alignment, read-only, repeated."""
    kind = draw(st.sampled_from(["plain", "reversed", "every other", "transposed", "unaligned", "offset", "columns"]))
    n, d = rows.shape
    if kind == "reversed":
        view = np.ascontiguousarray(rows[::-1, ::-1])[::-1, ::-1]
    elif kind == "every other":
        view = np.zeros((2 * n, 3 * d), rows.dtype)[::2, ::3]
        view[:] = rows
    elif kind == "transposed":
        view = np.asfortranarray(rows)
    elif kind == "unaligned":
        memory = np.zeros(rows.nbytes + 1, np.uint8)[1:]
        view = memory.view(rows.dtype).reshape(n, d)
        view[:] = rows
    elif kind == "offset":
        view = np.zeros(rows.size + 1, rows.dtype)[1:].reshape(n, d)
        view[:] = rows
    elif kind == "columns":
        view = np.zeros((n, d + 5), rows.dtype)[:, 2 : d + 2]
        view[:] = rows
    else:
        view = rows.copy()
    view.flags.writeable = draw(st.booleans())
    return view


@st.composite
def vectors(draw, rows) -> dict[str, np.ndarray]:
    """Some of mean, scale and shift, float64; its mean a row of `rows` (of `c3align.ops.arrays`), near one, or any."""
    n_rows, n_dims = rows.shape
    rng = np.random.default_rng(n_dims)
    found = dict(zip(("mean", "scale", "shift"), rng.standard_normal((3, n_dims))))
    if n_rows and draw(st.booleans()):
        away = found["mean"] * reference.at_mean_limit(n_dims, rows.compute_dtype) / np.linalg.norm(found["mean"])
        unit = reference.unit_rows(rows.widened())[0][draw(st.integers(0, n_rows - 1))]
        found["mean"] = unit + draw(st.sampled_from([0, 0.5, 1, 2])) * away
    return {name: found[name] for name in draw(st.sets(st.sampled_from(list(found))))}


@st.composite
def noises(draw, rows) -> Noise:
    """None, plain, and every shape of noise for `rows` (of `c3align.ops.arrays`), as the backends take it."""
    if draw(st.booleans()):
        return NO_NOISE
    n_dims = rows.shape[1]
    rng = np.random.default_rng(n_dims)
    sigma = draw(st.sampled_from([0.3, rng.uniform(0, 0.5, n_dims)]))
    direction = draw(st.sampled_from([None, rng.standard_normal(n_dims)]))
    ids = draw(st.sampled_from([None, rng.integers(0, 2**64, rows.shape[0], np.uint64)]))
    place = draw(SEEDS), draw(ROW_OFFSETS) if ids is None else 0, ids
    request = NoiseRequest(sigma, direction, draw(st.booleans()), draw(st.booleans()), *place)
    return request.prepare(*rows.shape, rows.compute_dtype)


@st.composite
def row_maps(draw, rows) -> RowMap:
    """Every kind of request for `rows` (of `c3align.ops.arrays`), as the backends take it."""
    cast = {name: vector.astype(rows.compute_dtype) for name, vector in draw(vectors(rows)).items()}
    rng = np.random.default_rng(rows.shape[1] + 1)
    goal = rng.standard_normal(rows.shape[1]) * draw(st.sampled_from([0.01, 1])) / rows.shape[1] ** 0.5
    return RowMap(
        **cast,
        noise=draw(noises(rows)),
        renormalize=draw(st.booleans()),
        is_raw=draw(st.booleans()),
        goal=draw(st.sampled_from([None, goal.astype(rows.compute_dtype)])),
        norm=draw(st.sampled_from([1.0, 10.3])),
    )


@st.composite
def partitions(draw, n_rows: int) -> list[np.ndarray]:
    """Row numbers in any order, cut into any pieces, empty ones among them."""
    order = np.array(draw(st.permutations(range(n_rows))))
    cuts = sorted(draw(st.lists(st.integers(0, n_rows), max_size=6)))
    return np.split(order, cuts)


@st.composite
def merged(draw, parts: list):
    """The sum of `parts` along a random tree."""
    parts = list(parts)
    while len(parts) > 1:
        i = draw(st.integers(0, len(parts) - 2))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0]


@st.composite
def paired_rows(draw, *, min_rows: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Two modalities of (n, d) float64 rows: a shared content, noise, and a gap, from none of each to much."""
    n_rows, n_dims = draw(st.integers(min_rows, 30)), draw(st.integers(2, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise, gap = draw(st.sampled_from([0.0, 0.1, 1.0])), draw(st.sampled_from([0.0, 1.0, 5.0]))
    shared, own_a, own_b = rng.standard_normal((3, n_rows, n_dims))
    offset = gap * rng.standard_normal(n_dims)
    return shared + noise * own_a + offset, shared + noise * own_b - offset


@st.composite
def constant_dims(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of which b is constant, to the bit, in some dimensions; and which (n_dims,) bool."""
    a, b = draw(paired_rows())
    constant = np.array(draw(st.lists(st.booleans(), min_size=a.shape[1], max_size=a.shape[1])))
    b[:, constant] = b[0, constant]
    return a, b, constant
