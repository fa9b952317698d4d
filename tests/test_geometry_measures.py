"""Gap, spectrum, distributions and neighbours: against plain computations by other means, and known spaces."""

from __future__ import annotations

import tracemalloc

import _lemmas
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats
from sklearn.neighbors import NearestNeighbors

from c3align import geometry, noise, ops
from c3align.covariance import CovarianceStatistics
from c3align.errors import C3AlignError
from c3align.geometry import _retrieval, _rows
from c3align.statistics import ModalityStatistics
from tests import strategies


def unit(rows):
    return rows.astype("f8") / np.linalg.norm(rows.astype("f8"), axis=1, keepdims=True)


def cosines(x, y):
    return (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


@pytest.fixture(params=["coco", "coco_random", "convirt"])
def pairs(request):
    return request.getfixturevalue(request.param)


class TestGroupedGap:
    def test_the_notebook_literally(self, pairs):
        """C3's analyze_gap notebook, step by step in NumPy; its shuffles were unseeded, ours are these."""
        a, b = map(unit, pairs)
        difference = a - b
        order = np.random.default_rng(3).permutation(500)
        groups = np.array([difference[order[start : start + 60]].mean(axis=0) for start in range(0, 480, 60)])
        residual = (difference - difference.mean(axis=0))[np.random.default_rng([3, 1]).permutation(500)]
        found = geometry.grouped_gap(*pairs, group=60, seed=3)
        assert (found.n_pairs, found.n_groups, found.group) == (500, 8, 60)
        lengths = np.linalg.norm(groups, axis=1)
        assert found.length == pytest.approx((lengths.mean(), lengths.std()), abs=1e-12)
        directions = cosines(groups[1:], groups[:-1])
        assert found.direction == pytest.approx((directions.mean(), directions.std()), abs=1e-12)
        between = cosines(residual[1:], residual[:-1])
        assert found.residual_direction == pytest.approx((between.mean(), between.std()), abs=1e-12)
        assert np.abs(found.residual_mean).max() < 1e-15
        assert found.residual == pytest.approx((0, 0), abs=1e-15)

    def test_what_table_1_says_of_clip(self, coco):
        """0.83 +- 0.01, 0.99, 0.00 +- 0.06, 0.00 +- 0.10 on all of COCO with ViT-B/32; here 500 pairs of ViT-B/16."""
        found = geometry.grouped_gap(*coco)
        assert found.length.mean == pytest.approx(0.855, abs=0.005)  # 0.851, and the noise of a group of 100
        assert found.length.std < 0.01
        assert found.direction.mean > 0.985
        for modality in found.orthogonality:
            assert abs(modality.mean) < 0.01
            assert 0.05 < modality.std < 0.1
        assert found.residual_direction == pytest.approx((0, 0.11), abs=0.01)
        assert str(found).startswith("gap of 5 groups of 100: length 0.85 +- 0.00, direction 0.99 +- 0.00")

    def test_length_holds_the_noise_of_a_group(self, coco):
        """E||c_k||**2 = ||c||**2 + tr(Cov(eps)) / group."""
        gap = geometry.gap_vector(*coco)
        trace = geometry.residual_spectrum(*coco).sum()
        for group in (1, 5, 20):
            runs = [geometry.grouped_gap(*coco, group=group, seed=seed).length for seed in range(10)]
            square = np.mean([length.mean**2 + length.std**2 for length in runs])
            assert square == pytest.approx(gap @ gap + trace / group * (1 - (group - 1) / 499), rel=0.01)

    def test_orthogonality_leaves_repeats_out(self, coco):
        """Five captions an image, in consecutive rows: the step between two of the same image is no step."""
        image, text = coco
        once = geometry.gap_orthogonality(image, text)
        repeated = geometry.gap_orthogonality(np.repeat(image, 5, axis=0) * 3.7, np.repeat(text, 5, axis=0))
        assert repeated == pytest.approx(once, abs=1e-7)

    def test_too_few(self):
        a, b = np.random.default_rng(0).standard_normal((2, 7, 3))
        found = geometry.grouped_gap(a, b, group=5)
        assert np.isnan(found.direction.mean)
        assert np.isnan(geometry.grouped_gap(a, b).length.mean)
        assert np.isnan(geometry.grouped_gap(a[:1], b[:1], group=1).residual_direction.mean)
        with pytest.raises(C3AlignError, match="group must be 1 or more, got 0"):
            geometry.grouped_gap(a, b, group=0)
        with pytest.raises(C3AlignError, match="zero pairs"):
            geometry.grouped_gap(a[:0], b[:0])

    def test_no_gap_has_no_direction(self):
        rows = np.random.default_rng(0).standard_normal((300, 4))
        assert np.isnan(geometry.grouped_gap(rows, rows).direction.mean)


class TestResidual:
    def test_against_covariance(self, pairs):
        a, b = map(unit, pairs)
        covariance = np.cov((a - b).T)
        assert geometry.residual_spectrum(*pairs) == pytest.approx(np.linalg.svd(covariance)[1], abs=1e-12)
        sigma = np.sqrt(np.trace(covariance) * 499 / 500 / 512)
        assert geometry.residual_sigma(*pairs) == pytest.approx(sigma, rel=1e-12)

    @pytest.mark.parametrize("dims", [512, 100, 20])
    def test_participation_of_built_noise(self, dims):
        """1 / std(cos)**2 and the ratio of the spectrum are both the number of dimensions that noise fills."""
        rng = np.random.default_rng(dims)
        eps = np.zeros((4000, 513))
        eps[:, :dims] = 0.001 * rng.standard_normal((4000, dims))
        a, b = np.eye(513)[512] + eps, np.broadcast_to(np.eye(513)[512], eps.shape).copy()
        found = geometry.residual_participation(a, b)
        assert 1 / geometry.grouped_gap(a, b).residual_direction.std ** 2 == pytest.approx(dims, rel=0.08)
        assert found == pytest.approx(dims / (1 + dims / 4000), rel=0.02)  # finite rows
        assert geometry.participation(a) == pytest.approx(found, rel=0.01)
        assert geometry.participation_ratio(np.zeros(4)) == 0

    def test_clips_is_not_isotropic(self, coco):
        """The paper's std of 0.10 over 512 dimensions means that about 100 take part."""
        assert 1 / geometry.grouped_gap(*coco).residual_direction.std ** 2 == pytest.approx(90, abs=10)
        assert geometry.residual_participation(*coco) == pytest.approx(78, abs=1)


class TestSpectrum:
    def test_as_the_notebook(self, pairs):
        for rows in pairs:
            values = np.linalg.svd(np.cov(unit(rows).T), compute_uv=False)
            assert geometry.covariance_spectrum(rows) == pytest.approx(values, abs=1e-14)
            sums = np.cumsum(values)
            for energy in (0.5, 0.9, 0.99):
                found = geometry.dimensional_collapse(rows, energy)
                k = int(np.argmax(sums / sums[-1] > energy)) + 1
                assert found == (k, 512, pytest.approx(sums[k - 1]), pytest.approx(sums[-1]))
                assert geometry.effective_dimension(rows, energy) == k

    def test_as_the_notebook_prints(self, coco_random):
        assert [str(geometry.dimensional_collapse(rows)) for rows in coco_random] == [
            "25 of 512 (0.3154 of 0.3186)",
            "230 of 512 (0.3332 of 0.3365)",
        ]
        assert f"{np.linalg.norm(geometry.gap_vector(*coco_random)):.4f}" == "1.1361"

    def test_principal_angles(self):
        """Two planes in five dimensions, turned by 0.3 and by 1.2 against one another."""
        rng = np.random.default_rng(0)
        turn = linalg.qr(rng.standard_normal((5, 5)))[0]
        base = np.eye(5)
        planes = (
            base[:2],
            [
                np.cos(0.3) * base[0] + np.sin(0.3) * base[2],
                np.cos(1.2) * base[1] + np.sin(1.2) * base[3],
            ],
        )
        wide = np.array([[0.02], [0.01]])
        clouds = [10 * base[4] + np.concatenate([wide * plane, -wide * plane]) for plane in planes]
        found = geometry.principal_angles(clouds[0] @ turn, clouds[1] @ turn, 2)
        assert found == pytest.approx([0.3, 1.2], abs=1e-6)
        assert geometry.principal_angles(clouds[0], clouds[1], (2, 1)) == pytest.approx([0.3], abs=1e-6)

    def test_principal_angles_of_clip(self, coco):
        bases = [linalg.svd(unit(rows) - unit(rows).mean(axis=0))[2][:10].T for rows in coco]
        expected = np.arccos(linalg.svdvals(bases[0].T @ bases[1]))
        assert geometry.principal_angles(*coco, 10) == pytest.approx(expected, abs=1e-9)
        assert geometry.principal_angles(coco[0], coco[0], 10) == pytest.approx(np.zeros(10), abs=1e-6)
        with pytest.raises(C3AlignError, match="from 1 to 512"):
            geometry.principal_angles(*coco, 513)


class TestClosedForms:
    """Items 13 and 16 of the fact sheet; 14 and 15 are in test_geometry_training."""

    def test_initial_gap(self):
        """The authors' cell 3: 100 trials of 255 random and 257 constant dimensions gave 1.00047, 0.90 to 1.10."""
        assert _lemmas.predicted_initial_gap(512, 257) == pytest.approx(1.0020, abs=5e-5)
        rng = np.random.default_rng(0)
        gaps = []
        for _ in range(100):
            constants = np.repeat(rng.standard_normal((2, 1, 257)), 400, axis=1)
            a, b = (np.concatenate([rng.standard_normal((400, 255)), rows], axis=1) for rows in constants)
            gaps.append(np.linalg.norm(geometry.gap_vector(a, b)))
        assert np.mean(gaps) == pytest.approx(1.0020, abs=0.02)
        assert min(gaps) > 0.85
        assert max(gaps) < 1.15

    def test_initial_gap_with_dimensions_of_one_modality(self):
        """Figure 4 at step 0: 1.2255, and 1.2478 in the one draw that was printed."""
        predicted = _lemmas.predicted_initial_gap(512, 257, (25, 230))
        assert predicted == pytest.approx(1.2255, abs=5e-5)
        rng = np.random.default_rng(0)
        gaps = []
        for _ in range(20):
            a, b = np.repeat(rng.standard_normal((2, 1, 512)), 500, axis=1)
            a[:, :25], b[:, 25:255] = rng.standard_normal((500, 25)), rng.standard_normal((500, 230))
            gaps.append(np.linalg.norm(geometry.gap_vector(a, b)))
        assert np.mean(gaps) == pytest.approx(predicted, abs=0.05)
        assert _lemmas.predicted_initial_gap(8, 0) == 0
        for counts in [(512, 300, (300, 0)), (0, 0), (8, -1)]:
            with pytest.raises(C3AlignError, match="not part of"):
                _lemmas.predicted_initial_gap(*counts)

    def test_strength_of_noise(self, coco):
        """||eps|| = s sqrt(d); cos = m / sqrt(m**2 + s**2 d); LAFITE: (1 - xi) / sqrt((1 - xi)**2 + xi**2)."""
        s = noise.PAPER_SIGMA
        z = ops.philox_normal(2000, 512, seed=0).astype("f8") * s
        assert np.linalg.norm(z, axis=1).mean() == pytest.approx(s * np.sqrt(512), rel=0.01)
        centred = ops.align(coco[1], unit(coco[1]).mean(axis=0), renormalize=False)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        found = cosines(centred, centred + z[:500]).mean()
        assert found == pytest.approx(noise.cosine_from_sigma(s, 512, norm=lengths.mean()), abs=0.01)
        mixed = 0.25 * unit(coco[1]) + 0.75 * unit(z[:500])
        assert cosines(coco[1], mixed).mean() == pytest.approx(noise.cosine_from_lafite_mix(0.75), abs=0.005)


class TestDistributionGap:
    def test_against_the_formula_of_fid(self, pairs):
        a, b = map(unit, pairs)
        covariances = np.cov(a.T), np.cov(b.T)
        common = np.sqrt(linalg.eigvals(covariances[0] @ covariances[1]) + 0j).real.sum()
        bures = np.trace(covariances[0] + covariances[1]) - 2 * common
        found = geometry.distribution_gap(*pairs)
        assert found.covariance == pytest.approx(bures, abs=1e-4)  # roots of rounding errors are in the reference
        assert found.centroid == pytest.approx(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum(), rel=1e-12)
        assert found.total == found.centroid + found.covariance

    def test_of_clouds_that_are_stretched(self):
        """Commuting covariances: the sum of squared differences of the standard deviations."""
        directions, spreads = np.eye(4)[:3], np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.05]])
        clouds = [np.concatenate([s * directions, -s * directions]) + np.eye(4)[3] for s in spreads[:, :, None]]
        sigmas = [np.sqrt(np.diag(np.cov(unit(rows).T))) for rows in clouds]
        found = geometry.distribution_gap(*clouds)
        assert found.covariance == pytest.approx(((sigmas[0] - sigmas[1]) ** 2).sum(), abs=1e-3)
        assert geometry.distribution_gap(clouds[0], clouds[0]) == pytest.approx((0, 0, 0), abs=1e-14)

    def test_centring_takes_the_centroids_part_alone(self, coco):
        before = geometry.distribution_gap(*coco)
        after = geometry.distribution_gap(*(ops.align(rows, unit(rows).mean(axis=0)) for rows in coco))
        assert before.centroid == pytest.approx(0.851**2, abs=1e-3)
        assert after.centroid < 0.001
        assert after.covariance > before.covariance  # what is left is stretched to norm 1


class TestSeparability:
    def test_of_clip(self, coco):
        assert geometry.linear_separability(*coco) == (1, 1)
        after = geometry.linear_separability(*coco, centered=True)
        assert 0.5 < after.accuracy < 0.6  # measured here: 0.553
        assert 0.5 < after.auc < 0.62

    def test_chance_and_unequal_numbers(self):
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((600, 5)), rng.standard_normal((200, 5))
        found = geometry.linear_separability(a, b)
        assert found == pytest.approx((0.5, 0.5), abs=0.08)
        shifted = geometry.linear_separability(a + np.eye(5)[0], b)
        assert shifted.accuracy == pytest.approx(0.7, abs=0.06)
        assert shifted.auc == pytest.approx(0.77, abs=0.06)
        with pytest.raises(C3AlignError, match="got 5 for "):
            geometry.linear_separability(a, b[:4])

    def test_partners_share_a_fold(self, coco):
        """Rows that are in both modalities cannot be told apart, and a fold apart they would all be told wrong."""
        found = geometry.linear_separability(coco[0], coco[0])
        assert found.accuracy == pytest.approx(0.5, abs=1e-12)


class TestNeighbours:
    @given(seed=st.integers(0, 999), n=st.integers(2, 30), k=st.integers(1, 5))
    def test_k_occurrence(self, seed, n, k):
        a, b = np.random.default_rng(seed).standard_normal((2, n, 4))
        found = NearestNeighbors(n_neighbors=min(k, n)).fit(unit(b)).kneighbors(unit(a), return_distance=False)
        assert np.array_equal(geometry.k_occurrence(a, b, k), np.bincount(found.ravel(), minlength=n))
        own = NearestNeighbors(n_neighbors=min(k, n - 1)).fit(unit(a)).kneighbors(return_distance=False)
        assert np.array_equal(geometry.k_occurrence(a, k=k), np.bincount(own.ravel(), minlength=n))

    def test_hubness(self, pairs):
        for query, target in (pairs, pairs[::-1]):
            counts = geometry.k_occurrence(query, target)
            assert counts.sum() == 5000
            found = geometry.hubness(query, target)
            assert found.skewness == pytest.approx(stats.skew(counts), rel=1e-12)
            assert found.anti_hubs == (counts == 0).mean()
            assert found.largest == counts.max() / 500

    def test_hubs_before_and_after(self, coco_random):
        """Of a CLIP that was never trained 86 % of the texts are nobody's neighbour; centring finds many of them."""
        before, after = (
            geometry.hubness(*rows) for rows in (coco_random, [ops.align(x, unit(x).mean(axis=0)) for x in coco_random])
        )
        assert before.anti_hubs == pytest.approx(0.864, abs=0.005)
        assert after.anti_hubs < 0.6
        assert after.skewness < before.skewness

    def test_known_hubs(self):
        assert geometry.hubness(np.eye(6), np.ones((1, 6)), k=1) == (0, 0, 1)
        found = geometry.hubness(np.eye(6) + 0.5, np.concatenate([-np.eye(6), np.ones((1, 6))]), k=1)
        assert found.largest == 1  # the middle is everyone's nearest
        assert found.anti_hubs == 6 / 7
        with pytest.raises(C3AlignError, match="no neighbor to find"):
            geometry.k_occurrence(np.ones((1, 6)))

    def test_blocks(self, coco, monkeypatch):
        whole = geometry.k_occurrence(*coco), geometry.k_occurrence(coco[0])
        monkeypatch.setattr(_retrieval, "_BLOCK_ELEMENTS", 37 * 500)
        assert np.array_equal(geometry.k_occurrence(*coco), whole[0])
        assert np.array_equal(geometry.k_occurrence(coco[0]), whole[1])


class TestSphere:
    def test_as_wang_and_isola_write_it(self, pairs):
        a, b = (torch.from_numpy(unit(rows)) for rows in pairs)
        aligned = (a - b).norm(dim=1).pow(2).mean().item()
        assert geometry.alignment(*pairs) == pytest.approx(aligned, rel=1e-12)
        assert geometry.alignment(*pairs) == pytest.approx(2 - 2 * geometry.pair_cosine(*pairs), rel=1e-12)
        assert geometry.alignment(*pairs, alpha=1) == pytest.approx((a - b).norm(dim=1).mean().item(), rel=1e-12)
        for t in (2, 0.5):
            uniform = torch.pdist(a).pow(2).mul(-t).exp().mean().log().item()
            assert geometry.uniformity(pairs[0], t=t) == pytest.approx(uniform, rel=1e-10)

    def test_uniformity_of_known_spaces(self, coco, monkeypatch):
        assert geometry.uniformity(np.ones((5, 3))) == pytest.approx(0, abs=1e-14)
        assert geometry.uniformity(np.array([[1.0, 0], [-1, 0]])) == pytest.approx(-8)
        assert geometry.uniformity(np.array([[1.0, 0], [-1, 0]]), t=1000) == pytest.approx(-4000)
        whole = geometry.uniformity(coco[0])
        monkeypatch.setattr("c3align.geometry._distributions.BLOCK_ELEMENTS", 37 * 500)
        assert geometry.uniformity(coco[0]) == pytest.approx(whole, rel=1e-12)
        with pytest.raises(C3AlignError, match="at least two"):
            geometry.uniformity(np.ones((1, 3)))


PAIR_MEASURES = {
    "gap": lambda a, b: [np.linalg.norm(geometry.gap_vector(a, b))],
    "grouped_gap": lambda a, b: [
        *(g := geometry.grouped_gap(a, b, group=5)).length,
        *g.direction,
        *g.residual_direction,
    ],
    "orthogonality": geometry.gap_orthogonality,
    "pair_cosine": lambda a, b: [geometry.pair_cosine(a, b)],
    "sigma": lambda a, b: [geometry.residual_sigma(a, b)],
    "residual_spectrum": geometry.residual_spectrum,
    "residual_participation": lambda a, b: [geometry.residual_participation(a, b)],
    "spectrum": lambda a, b: geometry.covariance_spectrum(a),
    "collapse": lambda a, b: geometry.dimensional_collapse(a, 0.7),
    "participation": lambda a, b: [geometry.participation(a)],
    "principal_angles": lambda a, b: geometry.principal_angles(a, b, 3),
    "loss": lambda a, b: [_lemmas.contrastive_loss(a, b)],
    "region": lambda a, b: np.concatenate(_lemmas.stable_region(a, b, 0.07, 0.5)),
    "alignment": lambda a, b: [geometry.alignment(a, b)],
    "uniformity": lambda a, b: [geometry.uniformity(a)],
    "distribution_gap": geometry.distribution_gap,
    "separability": lambda a, b: geometry.linear_separability(a, b, n_folds=2),
    "recall": lambda a, b: [*geometry.recall_at_k(a, b).values()],
    "bias": geometry.modality_bias,
    "hubness": geometry.hubness,
}


class TestGroupsOfRecall:
    def test_rows_of_a_group_are_all_right(self):
        """Two captions of each picture: the second is no wrong answer, and the picture counts once."""
        image = np.eye(4)
        text = np.repeat(np.eye(4), 2, axis=0) + 0.1 * np.random.default_rng(0).standard_normal((8, 4))
        pairs = np.repeat(image, 2, axis=0), text
        assert geometry.recall_at_k(*pairs) == geometry.recall_at_k(*pairs[::-1]) == {1: 1, 5: 1, 10: 1}
        assert geometry.pair_groups(*pairs).tolist() == np.repeat(range(4), 2).tolist()
        assert geometry.distinct_rows(pairs[0]).tolist() == [0, 2, 4, 6]

    def test_named_groups(self):
        image, text = np.eye(4), np.eye(4)[[1, 0, 3, 2]]
        assert geometry.recall_at_k(image, text)[1] == 0
        assert geometry.recall_at_k(image, text, groups=[5, 5, 9, 9])[1] == 1
        # equal pictures of two groups: each ties with the other, which ranks before it
        assert geometry.recall_at_k(image, image[[0, 0, 1, 1]], groups=[0, 1, 2, 3]) == {1: 0, 5: 1, 10: 1}
        with pytest.raises(C3AlignError, match="groups must be 4 integers, got int64 of shape"):
            geometry.recall_at_k(image, text, groups=[1, 2])

    def test_a_collapsed_space_has_no_groups(self):
        alike = np.ones((20, 4))
        assert geometry.recall_at_k(alike, np.eye(20)[:, :4] + 1e-3)[1] < 0.2
        assert geometry.recall_at_k(alike, alike) == {1: 0, 5: 0, 10: 0}
        assert geometry.pair_groups(alike, alike).tolist() == [*range(20)]

    @given(st.integers(0, 1 << 30), st.integers(2, 30))
    def test_without_equal_rows_as_ever(self, seed, n):
        query, target = np.random.default_rng(seed).standard_normal((2, n, 5))
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (query, target)]
        scores = unit[0] @ unit[1].T
        ranks = (scores >= scores.diagonal()[:, None]).sum(axis=1) - 1
        assert geometry.recall_at_k(query, target, ks=(1, 3)) == {k: float((ranks < k).mean()) for k in (1, 3)}


class TestNoiseFit:
    def test_noise_of_the_model_fits_it(self, coco):
        root = noise.Noise("own", power=0.5).root(np.cov(coco[1], rowvar=False), 1.0)
        rows = np.random.default_rng(1).standard_normal((500, 512))
        fit = geometry.noise_fit(7 * rows @ root, root @ root)
        assert fit.fits
        assert fit.likeness == pytest.approx(fit.attainable, abs=0.01)
        assert not geometry.noise_fit(rows, root @ root).fits
        assert geometry.noise_fit(rows + 3).fits
        assert not geometry.noise_fit(rows @ root).fits
        assert not geometry.noise_fit(coco[0] - coco[1]).fits

    @given(st.integers(0, 1 << 30), st.integers(1, 6), st.floats(0.01, 100))
    def test_likeness_is_the_fidelity(self, seed, d, scale):
        """Against SciPy's matrix root; one of a multiple, none of what shares no direction."""
        rows = np.random.default_rng(seed).standard_normal((40, d))
        other = np.cov(np.random.default_rng(seed + 1).standard_normal((40, d)), rowvar=False).reshape(d, d)
        own = np.cov(rows, rowvar=False).reshape(d, d)
        expected = np.trace(linalg.sqrtm(linalg.sqrtm(own) @ other @ linalg.sqrtm(own))).real ** 2
        expected /= np.trace(own) * np.trace(other)
        assert geometry.noise_fit(rows, scale * other).likeness == pytest.approx(expected, rel=1e-5)
        assert geometry.noise_fit(rows, scale * own).likeness == pytest.approx(1, abs=1e-6)
        parts = np.zeros((40, 2 * d))
        parts[:, :d] = rows
        assert geometry.noise_fit(parts, np.diag(np.arange(2 * d) >= d)).likeness == pytest.approx(0, abs=1e-9)

    def test_refusals(self):
        with pytest.raises(C3AlignError, match="not all alike"):
            geometry.noise_fit(np.ones((5, 3)))
        with pytest.raises(C3AlignError, match="not all alike"):
            geometry.noise_fit(np.tile(np.random.default_rng(0).standard_normal(30), (9, 1)))
        with pytest.raises(C3AlignError, match="residuals hold NaN"):
            geometry.noise_fit(np.full((5, 3), np.nan))
        with pytest.raises(C3AlignError, match="covariance must be 3 x 3"):
            geometry.noise_fit(np.eye(3), np.eye(2))


@pytest.mark.parametrize("name", PAIR_MEASURES)
class TestInvariance:
    measure = staticmethod(lambda name, a, b: np.array([*PAIR_MEASURES[name](a, b)], float))

    @settings(max_examples=20)  # of rows that are random: any one of them would do
    @given(data=st.data())
    def test_rotations_and_scales_change_nothing(self, name, data):
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        shared, own_a, own_b = rng.standard_normal((3, 40, 6))
        a, b = shared + 0.3 * own_a + 1.5 * rng.standard_normal(6), shared + 0.3 * own_b
        found = self.measure(name, a, b)
        assert np.isfinite(found).all()
        turn = linalg.qr(rng.standard_normal((6, 6)))[0]
        scales = 10 ** rng.uniform(-6, 6, (2, 40, 1))
        bound = 1e-6 if name == "principal_angles" else 1e-9
        assert self.measure(name, a @ turn, b @ turn) == pytest.approx(found, abs=bound, rel=1e-9)
        assert self.measure(name, a * scales[0], b * scales[1]) == pytest.approx(found, abs=bound, rel=1e-9)

    def test_tensors_and_float16(self, name):
        a, b = np.random.default_rng(0).standard_normal((2, 40, 6)).astype("f2") + np.float16(0.3)
        found = self.measure(name, a, b)
        assert np.array_equal(self.measure(name, torch.from_numpy(a), torch.from_numpy(b)), found, equal_nan=True)
        assert np.array_equal(self.measure(name, a.astype("f8"), b.astype("f8")), found, equal_nan=True)


SOURCE_MEASURES = {
    "gap": lambda a, b: geometry.gap_vector(a, b),
    "spectrum": lambda a, b: geometry.covariance_spectrum(a),
    "collapse": lambda a, b: geometry.dimensional_collapse(a),
    "participation": lambda a, b: [geometry.participation(a)],
    "principal_angles": lambda a, b: geometry.principal_angles(a, b, 5),
    "distribution_gap": geometry.distribution_gap,
}


class TestSources:
    @pytest.mark.parametrize("name", SOURCE_MEASURES)
    def test_statistics_and_blocks_stand_for_rows(self, name, coco):
        measure = SOURCE_MEASURES[name]
        found = measure(*coco)
        learned = [CovarianceStatistics.from_rows(rows.astype("f8")) for rows in coco]
        assert measure(*learned) == pytest.approx(found, rel=1e-6, abs=1e-9)
        streams = [iter(np.array_split(rows, 7)) for rows in coco]
        assert measure(*streams) == pytest.approx(found, rel=1e-6, abs=1e-12)
        assert measure([coco[0][:3], coco[0][3:]], [coco[1]]) == pytest.approx(found, rel=1e-6, abs=1e-12)

    def test_means_need_moments_only(self, coco):
        learned = [ModalityStatistics.from_rows(rows) for rows in coco]
        found = geometry.gap_vector(*learned)
        assert np.array_equal(found, learned[0].mean - learned[1].mean)
        assert found == pytest.approx(geometry.gap_vector(*coco), abs=1e-7)
        with pytest.raises(C3AlignError, match="hold no covariance; pass CovarianceStatistics"):
            geometry.covariance_spectrum(learned[0])

    def test_in_blocks_of_any_size(self, coco, monkeypatch):
        pair = [rows[:, :48] for rows in coco]

        def measured():
            grouped = geometry.grouped_gap(*pair, group=40)
            figures = [*grouped.length, *grouped.direction, *grouped.residual_direction, *grouped.orthogonality[1]]
            figures += [geometry.residual_sigma(*pair), geometry.residual_participation(*pair)]
            return [*figures, geometry.pair_cosine(*pair), *geometry.distribution_gap(*pair)]

        whole = measured()
        for n_rows in (1, 41, 120):
            monkeypatch.setattr(_rows, "BLOCK_ELEMENTS", n_rows * 48)
            assert measured() == pytest.approx(whole, rel=1e-9, abs=1e-12)

    def test_memmaps_are_never_copied_whole(self, tmp_path, monkeypatch):
        """float64 copies of both would take 20 MB; a block here takes 0.1."""
        monkeypatch.setattr(_rows, "BLOCK_ELEMENTS", 1 << 14)
        rows = np.random.default_rng(0).standard_normal((2, 20000, 64)).astype("f2")
        mapped = []
        for i, modality in enumerate(rows):
            np.save(tmp_path / f"{i}.npy", modality + np.float16(i))
            mapped.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
        measures = [
            geometry.gap_vector,
            geometry.distribution_gap,
            geometry.residual_spectrum,
            geometry.alignment,
            lambda a, b: geometry.grouped_gap(a, b).length,
            lambda a, b: geometry.dimensional_collapse(a),
        ]
        geometry.pair_cosine(*mapped)
        for measure in measures:
            tracemalloc.start()
            measure(*mapped)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 6e6

    def test_refusals_say_the_row_of_the_whole(self, coco, monkeypatch):
        monkeypatch.setattr(_rows, "BLOCK_ELEMENTS", 512 * 50)
        holed = coco[0].copy()
        holed[444] = 0
        with pytest.raises(C3AlignError, match="1 of 500 rows, first in row 444"):
            geometry.pair_cosine(holed, coco[1])
        with pytest.raises(C3AlignError, match="first in row 444"):
            geometry.grouped_gap(coco[1], holed)
        with pytest.raises(C3AlignError, match="is a list, not an array"):
            geometry.gap_vector([[1.0, 2.0]], coco[0])
        with pytest.raises(C3AlignError, match="of 512 and of 100 dimensions"):
            geometry.gap_vector([coco[0], coco[0][:, :100]], coco[0])
        with pytest.raises(C3AlignError, match="cannot average zero rows"):
            geometry.gap_vector(iter(()), coco[0])
        with pytest.raises(C3AlignError, match="two rows"):
            geometry.covariance_spectrum(iter(()))
        with pytest.raises(C3AlignError, match="rows of one encoder"):
            geometry.gap_vector(coco[0], coco[0][:, :100])
        with pytest.raises(C3AlignError, match="is a int, not an array"):
            geometry.covariance_spectrum(3)


@given(rows=strategies.paired_rows(min_rows=3), seed=st.integers(0, 99))
def test_figures_lie_where_they_must(rows, seed):
    found = geometry.grouped_gap(*rows, group=1, seed=seed)
    assert 0 <= found.length.mean <= 2
    assert np.isnan(found.direction.mean) or abs(found.direction.mean) <= 1 + 1e-12
    assert found.n_groups == len(rows[0])
    total, centroid, covariance = geometry.distribution_gap(*rows)
    assert 0 <= centroid <= total
    assert covariance >= 0
    assert geometry.uniformity(rows[0]) <= 1e-12
    assert 0 <= geometry.alignment(*rows) <= 4 + 1e-12
    angles = geometry.principal_angles(*rows, 2)
    assert (angles[0], angles[1]) == pytest.approx(sorted(angles))
    assert (angles <= np.pi / 2 + 1e-12).all()
