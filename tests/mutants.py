"""Mutants: one deliberate fault each, which a named test must notice. Run by `make mutate`.

Every promise has a test that can fail, and here is the proof: the checkout is copied, one line is changed, csrc/ is
compiled again when it is concerned, and the named tests must fail.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
from _pytest.mark import KeywordMatcher
from _pytest.mark.expression import Expression

ROOT = Path(__file__).resolve().parents[1]
_LIBRARIES = ["torch._dynamo", "sklearn.utils.estimator_checks", "scipy.stats", "hypothesis", "pandas"]
_LIBRARIES += ["transformers.modeling_utils", "open_clip", "peft", "pyarrow.parquet"]
_KEPT: list[object] = []
COPIED = ["c3align", "csrc", "tests", "benchmarks", "setup.py", "pyproject.toml", "README.md", "CONTRIBUTING.md"]
COPIED += ["MANIFEST.in", "CHANGELOG.md", "CITATION.cff", "LICENSE", "SECURITY.md"]


class Mutant(NamedTuple):
    promise: str
    file: str
    old: str
    new: str
    tests: str  # what pytest's -k selects


MUTANTS = [
    # the bits: compiled core against reference (P2, P3, P4)
    Mutant("P3", "setup.py", '"-ffp-contract=off"', '"-ffp-contract=fast"', "bits"),
    Mutant("P3", "setup.py", '"-O3"', '"-O3", "-ffast-math"', "bits"),
    Mutant("P3", "csrc/core/row.h", "(s[0] + s[1]) + (s[2] + s[3])", "((s[0] + s[1]) + s[2]) + s[3]", "bits"),
    Mutant("P3", "csrc/core/row.h", "kSegment = 8 * kSlots", "kSegment = 16 * kSlots", "bits"),
    Mutant("P3", "csrc/core/fixed_sum.h", "kWrap = 0x1.8p12", "kWrap = 0x1.8p11", "bits"),
    Mutant("P3", "csrc/cpu/moments.h", "kRowsToSettle = 512", "kRowsToSettle = 1 << 20", "moments_at_their_worst"),
    Mutant("P3", "csrc/cpu/moments.h", "unit + (sum - (kCoarse - kFine))", "(unit - (kCoarse - kFine)) + sum", "bits"),
    Mutant("P4", "csrc/core/normal.h", "V::select(odd, -across, along)", "V::select(odd, across, along)", "p4 or golden"),
    Mutant("P4", "csrc/core/normal.h", "I(word << 2)), V::splat(0x1p-34f), V::splat(0x1p-33f)", "I(word << 2)), V::splat(0x1p-34f), V::splat(0.0f)", "p4 or golden"),
    Mutant("P3", "csrc/cpu/transform.cpp", "if (map.renormalize && status[i] == kOk) {", "if (false) {", "bits"),
    Mutant("P3", "csrc/cpu/reduce.h", "setr_epi64(2, 3, 8, 9, 6, 7, 12, 13)", "setr_epi64(2, 3, 12, 13, 6, 7, 8, 9)", "bits"),
    Mutant("P3", "csrc/cpu/reduce.h", "_mm256_shuffle_pd(a, b, 0b0101)", "_mm256_shuffle_pd(a, b, 0b1010)", "bits"),
    Mutant("P3", "csrc/cpu/reduce.h", "segment(0)", "segment(kSegment)", "bits"),
    Mutant("P3", "csrc/cpu/load_store.h", "kept_ + index % kKept * padded", "kept_", "bits"),
    Mutant("P3", "csrc/cpu/moments.h", "n_kept += is_well[r];", "n_kept += 1;", "bits"),
    # both sides of pairs
    Mutant("pairs", "csrc/cpu/moments.h", "if (x.is_well[r] && y.is_well[r])", "if (x.is_well[r])", "bits_of_pairs"),
    Mutant("pairs", "csrc/cpu/moments.h", "all = all && x.is_well[r] && y.is_well[r];", "all = all && x.is_well[r];", "bits_of_pairs"),
    Mutant("pairs", "csrc/cpu/moments.h", "totals.settle(in_x.n_dims, sums, squares);", "totals.settle(in_x.n_dims - 1, sums, squares);", "bits"),
    Mutant("pairs", "csrc/bindings.cpp", "for (size_t k = 0; k < 6; ++k)", "for (size_t k = 0; k < 4; ++k)", "bits"),
    Mutant("pairs", "c3align/ops/reference.py", "_fixed_sums(u_x[well] - u_y[well])", "_fixed_sums((u_x - u_y).astype(x.dtype)[well].astype(np.float64))", "pair_moments and integers"),
    Mutant("pairs", "c3align/ops/fixed.py", "PAIRS_PER_BLOCK = 1 << 20", "PAIRS_PER_BLOCK = 1 << 22", "stay_in_their_integers"),
    Mutant("pairs", "c3align/ops/_moments.py", "(of_x[3] == OK) & (of_y[3] == OK)", "of_x[3] == OK", "pair_moments"),
    Mutant("pairs", "c3align/ops/_moments.py", "    for rows, _, zero_rows in (x, y):\n        of_rows(rows, zero_rows)", "    for rows, status, zero_rows in (y, x):\n        _checks.status(rows, status, zero_rows, first_row)", "words_are_those"),
    Mutant("pairs", "c3align/ops/eager.py", "well = of_a & of_b", "well = of_a", "pair_moments and on_a_device"),
    Mutant("pairs", "c3align/statistics.py", "zero_rows=zero_rows, y_zero_rows=y_zero_rows)", "zero_rows=zero_rows)", "partners_not"),
    Mutant("pairs", "c3align/geometry/_overlap.py", "of_pairs.total_variance) / 2", "of_pairs.total_variance)", "by_their_sums"),
    Mutant("pairs", "c3align/_learn.py", "is_alike = now[2].n_rows and are_partners(*now)", "is_alike = True", "fit_says_so"),
    Mutant("P1", "csrc/cpu/pool.cpp", ".end = n_rows * (t + 1) / n_threads", ".end = n_rows * (t + 1) / n_threads - (t == 0)", "leave_no_trace"),
    # threads: forks, exits, refusals, control words, numbers
    Mutant("pool", "csrc/cpu/pool.cpp", "[] { g_pool = new (g_memory) Pool; }", "nullptr", "test_pool and threads_of_its_own"),
    Mutant("pool", "csrc/cpu/pool.cpp", "const Freeing freeing{busy_};", "std::lock_guard<std::mutex> lock([]() -> std::mutex& { static std::mutex m; return m; }()); const Freeing freeing{busy_};", "test_pool and forks_from_busy"),
    Mutant("pool", "csrc/cpu/pool.cpp", "} catch (const std::system_error&) {", "} catch (const std::bad_alloc&) {", "test_pool and refuses"),
    Mutant("pool", "csrc/cpu/pool.cpp", "calls_to_pass_ > 0 && --calls_to_pass_ > 0", "calls_to_pass_ > 0", "test_pool and refuses"),
    Mutant("pool", "csrc/cpu/pool.cpp", "wait();\n        const double took", "const double took", "test_pool or leave_no_trace or many_threads"),
    Mutant("pool", "csrc/cpu/come_back.cpp", "    pthread_cleanup_push(stay, nullptr);\n    restore(state);\n    pthread_cleanup_pop(0);", "    restore(state);", "test_pool and exit_while"),
    Mutant("P3", "csrc/cpu/pool.cpp", "int n_threads, const Work& work) {\n    const UsualFloats floats;", "int n_threads, const Work& work) {", "test_pool and TestFloats"),
    Mutant("P3", "csrc/cpu/floats.h", "if (unusual()) write(before_);", "", "test_pool and TestFloats"),
    Mutant("P3", "c3align/ops/_dispatch.py", "@usual_floats\ndef run(", "def run(", "test_pool and TestFloats"),
    Mutant("P3", "c3align/ops/backends.py", "@usual_floats\n    def philox_normal(", "def philox_normal(", "test_pool and TestFloats"),
    Mutant("P3", "c3align/ops/_floats.py", "and 1 + _BELOW_LAST_BIT == 1 and 1 - _BELOW_LAST_BIT == 1", "and 1 + _BELOW_LAST_BIT == 1", "test_pool and TestFloats"),
    Mutant("P3", "c3align/ops/_floats.py", "library.fesetenv(before)", "pass", "test_pool and TestFloats"),
    Mutant("pool", "c3align/ops/native.py", "os.register_at_fork(after_in_child=_default_threads.cache_clear)", "pass", "test_pool and anew_after_a_fork"),
    Mutant("pool", "c3align/ops/native.py", "if _in_data_loader() else", "if False else", "test_pool and data_loader"),
    Mutant("pool", "c3align/ops/native.py", "min(found, (int(asked)", "max(found, (int(asked)", "test_pool and order"),
    Mutant("pool", "c3align/ops/native.py", "if not interpreter.is_main():", "if False:", "test_pool and sub_interpreter"),
    Mutant("build", "setup.py", 'values[0]\n    if', '"off"\n    if', "test_package and ends_with_the_mend"),
    Mutant("build", "setup.py", 'if CUDA == "on":\n                sys', 'if False:\n                sys', "test_package and FailingNvcc"),
    Mutant("build", "setup.py", "            return False\n", "            raise\n", "test_package and FailingNvcc"),
    Mutant("build", "c3align/ops/backends.py", "--no-cache-dir ", "", "test_package and off_is_a_slower"),
    Mutant("quick", "c3align/centering.py", "import numpy as np\n", "import numpy as np\nfrom sklearn.exceptions import NotFittedError\n", "needs_no_scikit_learn"),
    Mutant("quick", "c3align/cli/_embed.py", "c3align.C3Aligner() if aligner else None", "c3align.C3Aligner()", "needs_no_scikit_learn"),
    Mutant("P2", "csrc/cpu/transform.cpp", "mapper.apply(x, factor, i, reader", "mapper.apply(x, factor, i - first, reader", "no_trace or slice"),
    Mutant("P1", "csrc/bindings.cpp", "std::vector<int64_t> own(size_t(2 * rows.n_dims));", "static std::vector<int64_t> own(size_t(2 * rows.n_dims));", "no_trace or bits"),
    Mutant("P1", "csrc/bindings.cpp", "if (verdicts[i] != kOk) continue;", "", "binned"),
    Mutant("P4", "csrc/core/philox.h", "kPhiloxRounds = 10", "kPhiloxRounds = 9", "known_answers_compiled or p4"),
    Mutant("P4", "csrc/core/philox.h", "uint32_t(seed), uint32_t(seed >> 32)", "uint32_t(seed >> 32), uint32_t(seed)", "p4"),
    Mutant("P4", "csrc/core/philox.h", "V::splat(row >> 32)", "V::splat(uint64_t(0))", "p4"),
    Mutant("P4", "csrc/core/normal.h", "kHalved = 2 * 0.29289323f", "kHalved = 0.29289323f", "p4 or golden"),
    Mutant("P4", "csrc/core/normal.h", "V::select(halved, V::splat(-kOne), V::splat(0))", "power", "p4 or golden"),
    Mutant("P4", "csrc/core/normal.h", "has_bit(nearest, 2 * kEighth)", "has_bit(nearest, 4 * kEighth)", "p4 or golden"),
    Mutant("P9", "csrc/core/fixed_sum.h", "(bits & 0x7FFFFF) | 0x800000", "bits & 0x7FFFFF", "binned or bits"),
    Mutant("P4", "csrc/core/normal.h", "0.3333333134651184f", "0.3333333432674408f", "p4 or golden"),
    Mutant("P4", "c3align/ops/reference.py", "0x9E3779B9", "0x9E3779B8", "known_answers"),
    Mutant("P4", "c3align/ops/reference.py", "np.uint64(row_offset)", "np.uint64(0)", "p4"),
    Mutant("P4", "c3align/ops/reference.py", "+ np.float32(0.5)) * np.float32(2.0**-32)\n    bits", ") * np.float32(2.0**-32)\n    bits", "exact_arithmetic or golden"),
    Mutant("P8", "c3align/ops/reference.py", "(total.view(np.int64) & 0x1FFFFFFF) == 0x10000000", "np.zeros(total.shape, bool)", "fma or bits"),
    Mutant("P8", "csrc/core/half.h", "+ 0x0FFFu + ((magnitude >> 13) & 1)", "+ 0x1000u", "bits"),
    Mutant("P9", "c3align/ops/reference.py", "FIXED_SCALE = 2.0**40", "FIXED_SCALE = 2.0**39", "golden"),
    # the CUDA kernels, emulated
    Mutant("P3", "csrc/cuda/load_store.h", "distance = kWarp / 2; distance > 0; distance /= 2", "distance = 1; distance < kWarp; distance *= 2", "test_cuda_emulated"),
    Mutant("P3", "csrc/cuda/load_store.h", "row * (kWarp / kRows)", "0", "test_cuda_emulated"),
    Mutant("P3", "csrc/cuda/transform.cu", "kRows == 2 && first + 1 < in.n_rows;", "kRows == 2;", "test_cuda_emulated"),
    Mutant("P5", "csrc/cuda/transform.cu", "place.row_of<kRows>() * second", "0", "test_cuda_emulated"),
    Mutant("P3", "csrc/cuda/transform.cu", "row += int64_t(gridDim.x) * kAtOnce", "row += in.n_rows", "test_cuda_emulated"),
    Mutant("P4", "csrc/cuda/transform.cu", "noise.row_ids[first + second]", "numbers[0] + second", "test_cuda_emulated and row_ids"),
    Mutant("P4", "csrc/cuda/noise.h", "w2 = uint32_t(product >> 32) ^ keys.key1[1]", "w2 = uint32_t(product >> 32)", "test_cuda_emulated and normals"),
    Mutant("P4", "csrc/cuda/transform.cu", "row < n_rows; row += int64_t(gridDim.x) * rows_at_once", "row < n_rows; row += n_rows", "test_cuda_emulated and normals"),
    Mutant("P1", "csrc/cuda/moments.h", "for (int warp = 0; warp < n_bins; ++warp)", "for (int warp = 0; warp < 1; ++warp)", "test_cuda_emulated"),
    Mutant("P3", "csrc/cuda/load_store.h", "for (int s = 1; s < place.n_segments; ++s)", "for (int s = place.n_segments - 1; s > 0; --s)", "test_cuda_emulated"),
    Mutant("P4", "csrc/core/row_map.h", " + uint64_t(index);", ";", "test_cuda_emulated"),
    Mutant("P1", "csrc/cuda/moments.h", "if (!usable) {  // whatever", "if (false) {  // whatever", "test_cuda_emulated"),
    Mutant("P1", "csrc/cuda/moments.h", "if (usable) bins", "bins", "test_cuda_emulated"),
    Mutant("P4", "csrc/core/row_map.h", "uint64_t(first_row ? *first_row : 0)", "uint64_t(0)", "test_cuda_emulated"),
    Mutant("P4", "csrc/cuda/noise.h", "const T along = T(-sum", "const T along = T(sum", "test_cuda_emulated"),
    Mutant("P4", "csrc/cuda/transform.cu", "place.holds<kLayout>(step, k) ? sigma : T(0)", "sigma", "test_cuda_emulated"),
    Mutant("P4", "csrc/cuda/load_store.h", "step * kSlots < left + lane * kColumns", "step * kSlots + kSlots < left + lane * kColumns", "test_cuda_emulated"),
    Mutant("P3", "csrc/cuda/load_store.h", "pairs.v[k / 2] & 0xFFFF0000u", "pairs.v[k / 2]", "test_cuda_emulated"),
    Mutant("P3", "csrc/cuda/load_store.h", "kLayout == Layout::kWhole || step * kSlots + (", "true || step * kSlots + (", "test_cuda_emulated"),
    Mutant("P5", "c3align/ops/_device.py", "_found(X, status, start))", "_found(X, status, 0))", "test_cuda_emulated"),
    Mutant("P5", "c3align/ops/_device.py", "target if is_direct else torch.empty_like(target)", "target", "test_cuda_emulated"),
    Mutant("P5", "c3align/ops/_device.py", "if out is None else _apart(row_map, target, X)", "if True else _apart(row_map, target, X)", "rows_of_out"),
    Mutant("P5", "c3align/ops/_device.py", "tensor.clone() if", "tensor if", "rows_of_out"),
    Mutant("P5", "csrc/cuda/transform.cu", "if (!map.writes) return;", "", "test_cuda_emulated and stays_as_it_was"),
    Mutant("P5", "csrc/cuda/transform.cu", "measured_last && length <= map.at_mean", "false", "test_cuda_emulated and at_the_mean"),
    Mutant("P5", "csrc/cuda/transform.cu", "is_at_mean(rows, map.at_mean, place, slots)", "false", "test_cuda_emulated and at_the_mean"),
    Mutant("P5", "csrc/cuda/transform.cu", "return sqrt(sum_of_squares(rows, place, slots)) <= limit;", "return true;", "test_cuda_emulated and at_the_mean"),
    Mutant("P4", "c3align/ops/_device.py", "to(X.device, dtype).contiguous()", "to(X.device, dtype)", "test_cuda_emulated and row_ids"),
    Mutant("P5", "c3align/ops/_device.py", "flag if negative is None else flag | negative * deferred.NEGATIVE", "flag", "test_cuda_emulated and row_ids"),
    Mutant("P5", "c3align/ops/_device.py", "if row_map.renormalize and row_map.goal is None and len(X) and not", "if not", "test_cuda_emulated"),
    Mutant("P1", "c3align/ops/_device.py", "bins + block_bins", "block_bins", "test_cuda_emulated"),
    Mutant("P4", "csrc/core/philox.h", "uint32_t(round) * kKeyStep1", "uint32_t(round) * kKeyStep0", "test_cuda_emulated"),
    Mutant("P1", "csrc/cuda/moments.h", "wraps = n_rows * bit_cast", "wraps = n_kept * bit_cast", "test_cuda_emulated"),
    Mutant("P4", "csrc/core/philox.h", "kPurposeRowStrength = 1", "kPurposeRowStrength = 0", "bits"),
    Mutant("P4", "c3align/ops/reference.py", "noise.radius, norms, out", "noise.sigma, norms, out", "bits or fixed_norm"),
    # statistics (P1)
    Mutant("P1", "c3align/ops/fixed.py", "total[0] += carry", "pass", "128_bit or p1"),
    Mutant("P1", "c3align/ops/fixed.py", "~a[0] + (low == 0)", "~a[0]", "128_bit or subtract"),
    Mutant("P1", "c3align/_exact.py", "square * self.n_rows * ONE - total * total", "square * self.n_rows * ONE", "mean_and_variance"),
    Mutant("P1", "c3align/_state.py", "return dict(sorted(both.items()))", "return both", "order_of_modalities"),
    Mutant("P1", "c3align/_state.py", "found if a < b else found.negated()", "found", "order_of_modalities"),
    # refusals (P5, P10, P11)
    Mutant("P10", "c3align/ops/_compute.py", "    if overwrite and is_apart:", "    if is_apart:", "leaves_other_memory"),
    Mutant("P10", "c3align/ops/_device.py", "(overwrite_out and not is_shared)", "not is_shared", "test_cuda_emulated"),
    Mutant("P1", "c3align/aligner.py", "        with learning():\n            before = getattr(self, \"state_\", None)\n            self", "        before = getattr(self, \"state_\", None)\n        with learning():\n            self", "all_counted"),
    Mutant("P5", "c3align/ops/_checks.py", "if kind in where and policy != \"keep\":", "if False:", "p5"),
    Mutant("P5", "c3align/ops/_checks.py", "_huge_rows(rows, numbers[BAD_NORM])", "numbers[BAD_NORM][:0]", "p5"),
    Mutant("P10", "c3align/ops/_compute.py", "target = np.empty(rows.values.shape, rows.values.dtype)", "target = rows.values", "p10"),
    Mutant("P10", "c3align/ops/_compute.py", "_checks.status(rows, transform(rows, None, own), request.zero_rows)", "pass", "stays_as_it_was"),
    Mutant("P10", "c3align/ops/_compute.py", " and not np.may_share_memory(target, rows.values)\n", "\n", "may_be_overwritten or stays_as_it_was"),
    Mutant("P10", "c3align/ops/_compute.py", "own = _checks.apart(row_map, target)", "own = row_map", "rows_of_out"),
    Mutant("P10", "c3align/ops/_checks.py", "name: value.copy()\n", "name: value\n", "rows_of_out"),
    Mutant("P10", "csrc/cpu/transform.cpp", "if (!map.writes) continue;", "", "stays_as_it_was"),
    # rows at the mean, and numbers of rows
    Mutant("P5", "csrc/cpu/transform.cpp", " || norm <= limit", "", "test_at_mean"),
    Mutant("P5", "csrc/cpu/transform.cpp", "if (mapper.is_at_mean(x, factor, row))", "if (false)", "test_at_mean"),
    Mutant("P5", "csrc/cpu/transform.cpp", "sum_of_squares(padded_, row)) <= map_.at_mean", "sum_of_squares(padded_, row)) < map_.at_mean", "the_limit_is_where"),
    Mutant("P5", "csrc/cpu/transform.cpp", "if (std::fabs(double(entry)) > map_.at_mean) return true;", "if (std::fabs(double(entry)) >= map_.at_mean) return true;", "the_limit_is_where"),
    Mutant("P5", "csrc/bindings.cpp", "!map.mean || map.shift || !map.renormalize", "!map.mean || !map.renormalize", "rule_does_not_hold"),
    Mutant("P5", "csrc/bindings.cpp", "std::sqrt(double(rows.n_dims)) * kAtMeanInDouble", "kAtMeanInDouble", "the_limit_is_where"),
    Mutant("P5", "csrc/core/row.h", "kAtMeanInFloat = 0x1p-22", "kAtMeanInFloat = 0x1p-23", "the_limit_is_where"),
    Mutant("P5", "c3align/ops/reference.py", "return norms <= at_mean_limit", "return norms < at_mean_limit", "the_limit_is_where"),
    Mutant("P5", "c3align/ops/reference.py", "| _at_mean(centred, row_map)", "| _at_mean(mapped, row_map)", "test_at_mean"),
    Mutant("P5", "c3align/ops/_matrix_noise.py", "RowMap(row_map.mean if row_map.compares else None)", "RowMap(None)", "test_at_mean"),
    Mutant("P5", "c3align/ops/torch.py", "_as_tensor(request.mean, X) if compares else None", "None", "test_at_mean"),
    Mutant("P6", "c3align/_exact.py", "if problem := found.problem():\n            raise FormatError", "if False:\n            raise FormatError", "contradict_one_another"),
    Mutant("back", "c3align/ops/rowmap.py", "    if norm > MOST_GOAL:", "    if False:", "no_way_back"),
    Mutant("back", "c3align/ops/rowmap.py", "_LEAST_NORM <= self.norm <= _MOST_NORM", "True", "no_row_has"),
    Mutant("mean", "c3align/_discriminant.py", " or not _is_a_gap(gap, first, second):", ":", "by_chance_alone"),
    Mutant("P6", "c3align/statistics.py", "return \"the squares are not those of unit rows\"", "pass", "contradict_one_another"),
    Mutant("back", "csrc/cpu/transform.cpp", "along * along + inside_", "along * along + 1", "bits"),
    Mutant("back", "csrc/cpu/transform.cpp", "if (map.is_raw) factor = T(1);", "", "bits"),
    Mutant("back", "csrc/cpu/transform.cpp", "return T(map_.norm);", "return T(1);", "bits"),
    Mutant("back", "c3align/ops/_eager_math.py", "reciprocal = usable.to(rows.dtype)[:, None]", "pass", "test_device and bits"),
    Mutant("back", "c3align/ops/_eager_math.py", "along * along + (1 - row_sum", "along * along + (1 + row_sum", "test_device and bits"),
    Mutant("back", "c3align/ops/__init__.py", "shift=goal, norm=norm", "shift=goal", "translate"),
    Mutant("back", "c3align/ops/__init__.py", "Request(mean, goal=goal, norm=norm", "Request(mean, goal=goal", "translate"),
    Mutant("grad", "c3align/ops/torch.py", 'g = torch.where(_has_direction(wide, mean, "keep", is_raw), g, 0)', "pass", "get_no_gradient"),
    Mutant("P4", "csrc/core/row_map.h", "row_ids ? row_ids[index]", "row_ids ? row_ids[0] + uint64_t(index)", "test_row_ids"),
    Mutant("P4", "csrc/cpu/transform.cpp", "row_ids ? row_ids[i] : row_offset", "row_offset", "test_row_ids"),
    Mutant("P4", "c3align/ops/rowmap.py", "row_ids=self.row_ids[rows]", "row_ids=self.row_ids[: rows.stop - rows.start]", "test_row_ids"),
    Mutant("P4", "c3align/ops/reference.py", "words = _row_words(_row_numbers(n_rows, row_offset, row_ids), 1,", "words = _row_words(_row_numbers(n_rows, row_offset, None), 1,", "test_row_ids"),
    Mutant("P4", "c3align/ops/_matrix_noise.py", 'place["row_ids"][start : start + step]', 'place["row_ids"][: len(part)]', "test_row_ids"),
    Mutant("P4", "c3align/ops/torch.py", "seed % 2**64, first, row_ids)", "seed % 2**64, first)", "test_row_ids"),
    Mutant("P5", "c3align/ops/rowmap.py", 'if values.dtype.kind == "i" and (values < 0).any():', "if False:", "test_row_ids"),
    Mutant("P5", "c3align/ops/rowmap.py", "if self.row_ids is not None and not (isinstance", "if False and not (isinstance", "test_row_ids"),
    Mutant("P11", "c3align/_state.py", "if self.fingerprint not in (None, fingerprint):", "if False:", "p11 or encoder"),
    Mutant("P11", "c3align/centering.py", "    if doubt is None:\n", "    if True:\n", "wrong_name"),
    # which mean, and the way back
    Mutant("mean", "c3align/centering.py", "    if glance.n_rows < MIN_ROWS_FOR_BATCH_MEAN:\n        raise", "    if True:\n        raise", "promised_line"),
    Mutant("back", "c3align/ops/reference.py", "np.sqrt(inside) - along", "np.sqrt(inside) + along", "inverse_transform or bits"),
    # whose mean (faults of silence), and what is learned from what
    Mutant("mean", "c3align/centering.py", "max(NEGLIGIBLE * fitted.total, ROUNDING)", "ROUNDING", "negligible"),
    Mutant("mean", "c3align/centering.py", "ROUNDING) if surprise > most else 0.0", "ROUNDING)", "false_alarms or few_directions"),
    Mutant("mean", "c3align/centering.py", "SURPRISE * (1 + 2 / glance.n_rows)", "50.0", "first_line or batches_of_the_other"),
    Mutant("mean", "c3align/centering.py", "<= (FAR_FEW if few else FAR)", "<= 1e9", "mixed_or_far"),
    Mutant("mean", "c3align/centering.py", "if count - alike > 1 + MIXED * glance.n_rows + 3 * math.sqrt(2 * alike):", "if False:", "mixture"),
    Mutant("mean", "c3align/_discriminant.py", "UNSEEN = 0.15, 0.3, 4.0, 2.5", "UNSEEN = 0.0, 0.0, 4.0, 2.5", "single_rows"),
    Mutant("mean", "c3align/_discriminant.py", "if a in state.second_moments and b in state.second_moments:", "if False:", "single_rows or fishers"),
    Mutant("mean", "c3align/_discriminant.py", "max(min(1.4 + 0.8 * n_rows, 4.0), most)", "1.0", "false_alarms"),
    Mutant("mean", "c3align/_discriminant.py", "if any(winner not in (None, self.name) for winner in winners):", "if False:", "quick_look"),
    Mutant("mean", "c3align/_discriminant.py", "return excess <= (most_claimed if", "return excess <= 2 * (most_claimed if", "quick_look"),
    Mutant("mean", "c3align/ops/eager.py", "away = found - there[0]", "away = found", "look_alike"),
    Mutant("mean", "csrc/bindings.cpp", "rows.row_stride *= step;", "", "look_alike"),
    Mutant("mean", "csrc/bindings.cpp", "const double value = double(sums[j]) * unit;", "const double value = double(sums[0]) * unit;", "look_alike"),
    Mutant("mean", "c3align/covariance.py", "error = max(fourth - size, 0.0) / n", "error = max(fourth - size, 0.0)", "shrinkage"),
    Mutant("P11", "c3align/geometry/_overlap.py", "float((second**2).sum()) / first.shape[1]", "float((second**2).sum())", "one_encoder or unbiased"),
    Mutant("P11", "c3align/_learn.py", "    if found is not None:", "    if False:", "fit_says_so or order_is_wrong"),
    Mutant("P11", "c3align/geometry/_order.py", "    if not is_one:", "    if False:", "fit_says_so"),
    Mutant("pairs", "c3align/geometry/_order.py", "own < AT_CHANCE for", "own < -AT_CHANCE for", "one_side_lacks"),
    Mutant("pairs", "c3align/geometry/_order.py", "or max(evidence) < CLEAR:", "or False:", "test_centering and false_alarm"),
    Mutant("pairs", "c3align/_learn.py", ">= MANY_PAIRS:", ">= 1e9:", "test_centering and later_pairs"),
    Mutant("pairs", "c3align/_learn.py", "bool((a.isin(b) & (a != b)).any())", "False", "test_centering and order_of_an_index"),
    Mutant("pairs", "c3align/_kinds.py", "if not bool(((values != 0) & (values != 1)).any()):", "if True:", "other_dtypes_are_no_labels"),
    Mutant("P10", "c3align/cli/_transform.py", "if any(os.path.realpath(path) == place for", "if any(False for", "test_cli and never_written_over"),
    Mutant("P10", "c3align/io/mirror.py", "return sorted({os.path.relpath(path, self.folder) for path in found} - known)", "return []", "test_trees and another_time"),
    Mutant("P10", "c3align/io/mirror.py", "if recorded or (others and tree.run_path.exists()):", "if recorded:", "test_trees and do_not_share"),
    Mutant("P5", "c3align/io/mirror.py", "if others and (rules.skip or any(", "if others and any((", "test_trees and partner_would_stay"),
    Mutant("P5", "c3align/cli/_transform.py", 'if len(found) > 1 and policy[0] == "skip":', "if False:", "test_trees and partner_would_stay"),
    Mutant("P10", "c3align/io/mirror.py", "if known is not None and not listed.exists():", "if False:", "test_trees and not_replaced"),
    Mutant("P10", "c3align/cli/_transform.py", "if os.path.realpath(folder) in (place, os.path.dirname(place)):", "if False:", "test_cli and aligner_is_never"),
    Mutant("P10", "c3align/io/opening.py", 'return name.removeprefix("file://")', 'return name.removeprefix("nothing")', "test_cli and never_written_over"),
    Mutant("pairs", "c3align/geometry/_order.py", "if n_same <= n_pairs * FEW_SAME or n_same < min(n_pairs, LEAST_SAME):", "if True:", "test_centering and rows_twice"),
    Mutant("pairs", "c3align/_learn.py", "found = order_doubt(rows, partners) if is_alike", "found = None if is_alike", "test_centering and rows_twice"),
    Mutant("pairs", "c3align/geometry/_order.py", "repeated(a, b) or exchanged(a, b) or", "repeated(a, b) or", "test_centering and changed_places"),
    Mutant("pairs", "c3align/geometry/_order.py", "size <= ONE_SIZE * np.median", "size <= 0 * np.median", "test_centering and changed_places"),
    Mutant("gap", "c3align/geometry/_gap_report.py", "1 < pairs.n_rows == a.n_rows == b.n_rows:", "False:", "test_aligner and error_of_the_gap"),
    Mutant("attack", "c3align/io/pages.py", "sorted(paths)):", "()):", "contradicts_itself"),
    Mutant("door", "c3align/_learn.py", "if shares.max() > NEARLY_ALL:", "if False:", "test_centering and nearly_all"),
    Mutant("door", "c3align/_kinds.py", "if cells.dtype == object and found:", "if False:", "test_centering and in_cells"),
    Mutant("door", "c3align/_kinds.py", "    if others:", "    if False:", "test_centering and ids_beside"),
    Mutant("door", "c3align/centering.py", "(Glance.of(X), LARGE)", "(Glance.of(X), FAR)", "test_centering and not_named"),
    Mutant("door", "c3align/ops/arrays.py", "tensor.resolve_neg() if tensor.is_neg() else tensor", "tensor", "test_aligner and sees_otherwise"),
    Mutant("report", "c3align/report/_text.py", "if pair.order_doubt in _ORDER:", "if False:", "test_report and same_rows_twice"),
    Mutant("cli", "c3align/geometry/_overlap.py", "_own_overlap(b, \"b\")) < ONE_ENCODER:", "_own_overlap(b, \"b\")) < 0:", "(test_drift and whitened) or (test_centering and turned_by_a_pca)"),
    Mutant("pairs", "c3align/_ingest.py", "    if len(shape) > 2:", "    if False:", "test_centering and another_shape"),
    Mutant("pairs", "c3align/_ingest.py", "    if shape[0] != n_rows:", "    if False:", "test_centering and another_shape"),
    Mutant("noise", "c3align/_matrices.py", "    if values[0] < -_ROUNDING", "    if False and values[0] < -_ROUNDING", "test_noise and no_covariance"),
    Mutant("noise", "c3align/_strength.py", "known = {both: found for both, found in state.across.items() if found.n_rows >= MIN_PAIRS_FOR_NOISE}", "known = dict(state.across)", "test_aligner and without_a_residual"),
    Mutant("scores", "c3align/_unrelated.py", "if _share_of_related(a, b) > MANY_RELATED:", "if False:", "test_calibration and few_class_prompts"),
    Mutant("decoders", "c3align/decoders/place.py", "        self._check_norm(rows)\n", "", "test_decoders and norms"),
    Mutant("decoders", "c3align/decoders/memory.py", "any_norm=True", "any_norm=False", "test_decoders and norms"),
    Mutant("decoders", "c3align/decoders/place.py", "has_one = not any_norm and", "has_one = True or", "test_decoders and norms"),
    Mutant("search", "c3align/search/index.py", "self.aligner = copy(aligner)", "self.aligner = aligner", "test_search and learns_later"),
    Mutant("search", "c3align/cli/_index.py", "    if others:\n", "    if False:\n", "test_search_command and row_at_the_top"),
    Mutant("search", "c3align/report/_advice.py", "(1 - FAIR) * (1 - right)", "1 - FAIR - right", "test_report and follows_the_figures"),
    Mutant("search", "c3align/search/store.py", "if not isinstance(name, str)]:", "if False]:", "test_search and what_is_wrong"),
    Mutant("pairs", "c3align/bridge.py", "    if found is not None:\n        warnings.warn(Pair", "    if False:\n        warnings.warn(Pair", "test_bridge and one_side_lacks"),
    Mutant("pairs", "c3align/geometry/_later.py", "found > FALLEN * shared", "True", "test_later_pairs and after_right_ones"),
    Mutant("pairs", "c3align/geometry/_later.py", "SURE * of_each.std(ddof=1)", "1e3 * of_each.std(ddof=1)", "test_later_pairs and after_right_ones"),
    Mutant("pairs", "c3align/geometry/_later.py", "or _by_chance(a, b, before, now)", "", "test_later_pairs and from_the_start"),
    Mutant("pairs", "c3align/geometry/_later.py", "    if are_partners(*total):\n", "    if True:\n", "test_later_pairs and from_the_start"),
    Mutant("pairs", "c3align/geometry/_later.py", "size**2 / LEAST_DIRECTIONS", "0.0", "test_later_pairs and merged_parts"),
    Mutant("pairs", "c3align/_learn.py", "if doubtful is not None:", "if False:", "test_later_pairs and merged_parts"),
    Mutant("P1", "c3align/_learn.py", "    theirs = theirs.reduced(wanted(settings))\n    if", "    if", "merge_into_one"),
    Mutant("door", "c3align/persistence.py", "settings.keys() - {*NAMES}", "set()", "parameters_of_a_subclass"),
    Mutant("door", "c3align/cli/_app.py", 'if output == Path("-"):', "if False:", "files_are_no_stream"),
    Mutant("pairs", "c3align/centering.py", "mixtures=not is_named", "mixtures=True", "test_later_pairs and hardly_alike"),
    Mutant("pairs", "c3align/centering.py", "    if state.statistics[name].n_rows < MIN_ROWS_FOR_BATCH_MEAN:\n        return  #", "    if False:\n        return  #", "test_later_pairs and hardly_alike"),
    Mutant("door", "c3align/centering.py", " and there > LARGE", "", "test_centering and aligned_before"),
    Mutant("door", "c3align/centering.py", "min(most, LARGE_CLAIMED) if before else most", "most", "test_centering and aligned_before"),
    Mutant("door", "c3align/centering.py", "here <= NEGLIGIBLE + 1 / n", "here <= 2", "test_centering and aligned_before"),
    Mutant("door", "c3align/cli/_app.py", "    if command is not None:\n        tell(\"warning\", f\"{base_of", "    if False:\n        tell(\"warning\", f\"{base_of", "test_cli and aligned_before"),
    Mutant("door", "c3align/centering.py", "if named and modality in (AUTO, BATCH):", "if False:", "test_aligner and not_kept"),
    Mutant("door", "c3align/centering.py", "next(name for name in known if name != b)", "known[0]", "test_aligner and asked_for"),
    Mutant("door", "c3align/geometry/_gap_report.py", "n_pairs > 1:", "n_pairs:", "test_aligner and not_certain"),
    Mutant("module", "c3align/nn.py", " or not X.is_floating_point():", ":", "test_module and integers"),
    Mutant("pairs", "c3align/geometry/_order.py", "2 * count > PART_PAIRS and", "", "test_centering and without_a_direction"),
    Mutant("P10", "c3align/cli/_fit.py", "    if others:", "    if False:", "test_trees and among_the_rows"),
    Mutant("pairs", "c3align/geometry/_order.py", "order_evidence(a, b) < BY_CHANCE", "order_evidence(a, b) < -9", "wrong_order"),
    Mutant("pairs", "c3align/geometry/_order.py", "max(1, len(first) - 1)", "len(first) ** 2", "all_orders"),
    Mutant("P11", "c3align/geometry/_overlap.py", " or (paired and centered_pair_cosine(a, b) >= PARTNERS)", "", "by_their_sums"),
    Mutant("P11", "c3align/report/_advice.py", "    if not pair.is_one_encoder:", "    if False:", "two_encoders"),
    Mutant("P5", "c3align/_ingest.py", '"keep" if self.is_integer else zero_rows', "zero_rows", "check_estimator or of_integers"),
    Mutant("P5", "c3align/_kinds.py", "if said in _EIGHT_BITS:", "if False:", "packed_bits"),
    Mutant("P5", "c3align/_state.py", "and sorted(names) == sorted(columns):", "and False:", "another_order"),
    Mutant("door", "c3align/_ingest.py", "if not (is_named or _looks_paired(rows, y)):", "if not is_named:", "test_state and pairs"),
    Mutant("door", "c3align/_ingest.py", "return width == rows.shape[1] or width >= EMBEDDING_COLUMNS", "return True", "targets_are_ignored"),
    Mutant("noise", "c3align/_strength.py", "if pairs.n_rows >= MIN_PAIRS_FOR_NOISE]\n    if not found:", "]\n    if not found:", "one_pair"),
    Mutant("noise", "c3align/aligner.py", "stream_seed(self.seed if seed is None else seed, name)", "self.seed if seed is None else seed", "independent_noise"),
    Mutant("P1", "c3align/_state.py", "lambda: _learning.__setitem__(0, threading.RLock())", "lambda: None", "while_a_thread_that_it_lacks"),
    Mutant("P6", "c3align/statistics.py", "any(found < 1 << 23 for found in bins if found) or ", "", "attack"),
    Mutant("P10", "c3align/ops/_checks.py", "        if step < reach:", "        if step == 0:", "overlap_each_other"),
    Mutant("P1", "c3align/_state.py", "if self.n_dims != other.n_dims:", "if False:", "other_widths"),
    Mutant("P6", "c3align/persistence.py", "        parse(content)\n", "        pass\n", "not_saved"),
    Mutant("device", "c3align/mappings/_affine.py", "if (key := (rows.device, dtype) if is_on_device(rows) else None) not in known:", "if (key := (rows.device, dtype) if is_on_device(rows) else None) or True:", "go_up_once"),
    Mutant("found", "c3align/decoders/prefix/checks.py", "min(a.element_size(), b.element_size()) < 4", "a.element_size() < 4", "compared_as_halves"),
    Mutant("found", "c3align/cli/_transform.py", "        looked_at(fitted, source, name, policy)\n", "", "another_modality_are_told"),
    Mutant("found", "c3align/cli/_merge.py", "if same := state.same_rows(part.state_):\n                raise C3AlignError(\n                    f\"{before} and {folder} have learned the same {same[0]!r} rows, which can", "if False:\n                raise C3AlignError(\n                    f\"{before} and {folder} have learned the same {same[0]!r} rows, which can", "subtract_is_the_rest"),
    Mutant("found", "c3align/io/vectors.py", "if any(rest[2:]):", "if False:", "a_negative_of_what"),
    # noise with the residuals' covariance
    Mutant("P4", "c3align/ops/_matrix_noise.py", "np.rint(values * 2.0**exponent)", "values * 2.0**exponent", "residual_noise"),
    Mutant("P4", "c3align/ops/_matrix_noise.py", "np.rint(z * 2.0**NORMAL_BITS, dtype=np.float64)", "z.astype(np.float64) * 2.0**NORMAL_BITS", "residual_noise"),
    Mutant("P4", "c3align/ops/_matrix_noise.py", "ROOT_BITS = 28  #", "ROOT_BITS = 33  #", "residual_noise"),
    Mutant("P4", "c3align/ops/_matrix_noise.py", 'place["row_offset"] + start', 'place["row_offset"]', "leave_no_trace"),
    Mutant("P5", "c3align/ops/_matrix_noise.py", "noisy[status != OK] = 0", "pass", "stay_zeros"),
    Mutant("P5", "c3align/ops/torch.py", "if compares or request.zero_rows", "if False and request.zero_rows", "stay_zeros"),
    Mutant("noise", "c3align/noise.py", "else found * ratio", "else found", "asked_strength or real_embeddings"),
    Mutant("noise", "c3align/_strength.py", "if shape.has_covariance and found:", "if False:", "covariance_is_that or real_embeddings"),
    Mutant("noise", "c3align/_strength.py", "for part in found], axis=0, weights=weights)", "for part in found], axis=0)", "several_pairs"),
    Mutant("noise", "c3align/_matrices.py", "(vectors * np.sqrt(values)) @ vectors.T", "(vectors * values) @ vectors.T", "residual_noise"),
    Mutant("noise", "c3align/covariance.py", "- np.outer(mean, mean)", "", "covariance_is_that or wide_arithmetic"),
    Mutant("noise", "c3align/_state.py", "            if known and not found:", "            if False:", "changed_after_fit or both_covariances"),
    Mutant("noise", "c3align/nn.py", "noise_of(self.state_, vars(aligner), name) for", "{\"sigma\": aligner.sigma_} for", "it_is_corrupt"),
    # encoders and embed
    Mutant("enc", "c3align/encoders/transformers.py", 'features["is_longer"][:] = False', "pass", "not_called_longer"),
    Mutant("enc", "c3align/encoders/imagebind.py", " / self._scale(place)", "", "scales"),
    Mutant("enc", "c3align/encoders/base.py", "(wide / np.linalg.norm(wide, axis=1, keepdims=True)).mean", "wide.mean", "unit_norm"),
    Mutant("enc", "c3align/io/media.py", "turned = picture", "turned = False and picture", "orientation"),
    Mutant("enc", "c3align/io/media.py", "floats.mean(axis=0)", "floats[0]", "sound"),
    Mutant("P5", "c3align/io/media.py", "picture.format not in _DEEP", "False", "no_white"),
    Mutant("P5", "c3align/io/media.py", "        if not peak <= _LOUDEST:", "        if peak > _LOUDEST:", "sounds_are_refused"),
    Mutant("P5", "c3align/io/videos.py", "return picture.rotate(-turned, expand=True) if turned else picture", "return picture", "held"),
    Mutant("P5", "c3align/io/videos.py", "bisect_right(shown, time, hi=len(shown) - 1) - 1", "int(len(shown) * (time - shown[0]) / (span + 1))", "by_time"),
    Mutant("P5", "c3align/io/items.py", "for name in names if not name.startswith(\".\"))", "for name in names)", "folder_holds_besides"),
    Mutant("enc", "c3align/_imports.py", "in _USES_TORCHVISION:", "in ():", "does_not_fit"),
    Mutant("P5", "c3align/io/joins.py", "    if lone is not None and on is None:", "    if on is None:", "pairs_by_item"),
    Mutant("P5", "c3align/io/joins.py", "    rows[lead] = leading\n", "", "pairs_by_a_column"),
    Mutant("P5", "c3align/io/joins.py", "known.setdefault(str(name), len(known))", "known.setdefault(name, len(known))", "a_tree_and_a_parquet"),
    Mutant("P5", "c3align/io/joins.py", "if on is None or len(columns) < len(source.parts):", "if True:", "test_formats and pairs_by_a_column"),
    Mutant("P5", "c3align/io/columns.py", "floats_of(lists, width, self.path, start)", "floats_of(lists, width, self.path, 0)", "test_formats and holds_no_rows"),
    Mutant("P5", "c3align/io/columns.py", "floats_of(lists, self.shape[1], self.path, start)", "floats_of(lists, self.shape[1], self.path, 0)", "test_formats and holds_no_rows"),
    Mutant("P6", "c3align/io/tables.py", "read_dictionary=list(flat))", "read_dictionary=[])", "one_long_name"),
    Mutant("P5", "c3align/io/columns.py", "type(value) not in (int, str)", "False", "test_formats and name_no_rows"),
    Mutant("P5", "c3align/io/joins.py", "known.setdefault(number, own) != own:", "False:", "ids_contradict"),
    Mutant("P5", "c3align/io/rows.py", "self.base.read(first, behind)[wanted - first]", "super().read(first, behind)[: len(wanted)]", "pairs_by_a_column"),
    Mutant("P5", "c3align/embed.py", "    if modality == \"text\" and item.is_blank:", "    if False:", "blank_captions_are_broken"),
    Mutant("P5", "c3align/encoders/base.py", "return self._fingerprint if usual else", "return self._fingerprint if True else", "how_they_are_looked_at"),
    Mutant("P5", "c3align/io/videos.py", "    if np.linalg.det([across, down]) < 0:", "    if False:", "mirrored_videos"),
    Mutant("P5", "c3align/io/videos.py", "    if not ratio or ratio == 1:", "    if True:", "not_square"),
    Mutant("P5", "c3align/cli/_app.py", "(f\"{label}:\", _COLOURS[label])", "(f\"{label}:\", \"\")", "colours_where"),
    Mutant("P5", "c3align/io/media.py", "        if picture.format != \"HEIF\":", "        if True:", "main_picture"),
    Mutant("P5", "c3align/io/claims.py", "page[5] & 4 > 0 and ", "", "in_the_middle"),
    Mutant("P5", "c3align/io/claims.py", "    if is_short:", "    if False:", "in_the_middle"),
    Mutant("P5", "c3align/io/items.py", "        todo = links\n", "        todo = []\n", "followed_once"),
    Mutant("P5", "c3align/decoders/prefix/checks.py", "type(weight.data) is not torch.Tensor", "False", "TestQuantized"),
    Mutant("P5", "c3align/decoders/memory.py", "self.memory_.of_different_things(rows, ", "self.memory_.nearest(rows, ", "TestGroups"),
    Mutant("cli", "c3align/cli/__init__.py", "UNREAD = 130, 141", "UNREAD = 130, 0", "closed_pipe"),
    Mutant("cli", "c3align/cli/__init__.py", "        _write_any_text()\n", "", "not_utf_8"),
    Mutant("P5", "c3align/io/atomic.py", "            for path in new:\n                path.rmdir()", "            pass", "no_empty_folder_left"),
    Mutant("P5", "c3align/io/atomic.py", "    with named(path):\n        scratch, lock", "    with suppress(KeyError):\n        scratch, lock", "no_empty_folder_left"),
    Mutant("found", "c3align/cli/_transform.py", "with atomic.made(folder), rows_bar", "with rows_bar", "folder_of_the_output_is_made"),
    Mutant("found", "c3align/cli/_transform.py", "if not source.n_rows:", "if False:", "groups_without_rows"),
    Mutant("found", "c3align/io/rows.py", "if part.dtype.itemsize < first.dtype.itemsize else", "if True else", "one_width_and_two_dtypes"),
    Mutant("found", "c3align/cli/_check.py", '"skipped": overlap is None and', '"skipped": False and', "test_drift and not_measured"),
    Mutant("found", "c3align/cli/_check.py", '.name != "DEFAULT"', '.name == "DEFAULT"', "test_drift and not_measured"),
    Mutant("found", "c3align/cli/_check.py", 'text = "not measured: the aligner knows one', 'text = "measured: the aligner knows one', "test_drift and not_measured"),
    Mutant("cli", "c3align/cli/__init__.py", "OSError, Warning)", "OSError)", "warnings_as_errors"),
    Mutant("cli", "c3align/cli/__init__.py", "if option not in options or", "if True or", "test_cli and advice_of_python"),
    Mutant("cli", "c3align/cli/__init__.py", r"\w\([^)]*\)|", "", "test_cli and advice_of_python"),
    Mutant("cli", "c3align/cli/__init__.py", "option not in options or", "", "test_cli and advice_of_python"),
    Mutant("cli", "c3align/cli/__init__.py", "or any(found[0] in argument for argument in given)", "", "test_cli and advice_of_python"),
    Mutant("cli", "c3align/__main__.py", "sys.stdout or open", "sys.stdout and open", "closed_streams"),
    Mutant("cli", "c3align/__main__.py", "sys.stderr or open", "sys.stderr and open", "closed_streams"),
    Mutant("P5", "c3align/io/joins.py", "    if not len(common):", "    if False:", "item_in_common"),
    Mutant("P5", "c3align/embed.py", "self.broken = set(range(len(part))).difference(known)", "self.broken = set[int]()", "TestChanges"),
    Mutant("P5", "c3align/io/claims.py", "    if end - start < stated - _MISSING:", "    if False:", "cut_off"),
    Mutant("P5", "c3align/io/claims.py", "    if n_bytes + _HEADER < stated < _UNKNOWN:", "    if False:", "cut_off"),
    Mutant("P5", "c3align/io/tables.py", "        if len(row) != len(names):", "        if False:", "cut_or_misread"),
    Mutant("enc", "c3align/embed.py", "if known[i] == now[i]}", "if known[i][1:] == now[i][1:]}", "TestChanges"),
    Mutant("P7", "c3align/io/shards.py", "        self._take_back(shard)\n", "", "goes_on_with_a_lenient_one"),
    Mutant("P7", "c3align/io/shards.py", "return self.metadata_path(shard).exists()", "return self.shard_path(shard).exists()", "failure_at_any_write"),
    Mutant("P7", "c3align/io/earlier.py", "    if gone and not may_drop:", "    if False:", "test_embed and grew_and_shrank"),
    Mutant("P7", "c3align/io/earlier.py", 'item.digest("text") if is_text', "DIGEST if is_text", "test_embed and another_file_of_texts"),
    Mutant("P7", "c3align/io/earlier.py", "tree.broken_path(0).parent, tree.digests_path]", "tree.broken_path(0).parent]", "damaged_shard_of_the_earlier"),
    Mutant("P7", "c3align/cli/_learning.py", "if piece.start + piece.n_rows == self.first.ends[piece.behind]:", "if True:", "test_trees and behind_the_last_shard"),
    # shards through a device
    Mutant("P3", "c3align/io/device.py", "cycle(self._back), None", "cycle(self._back[:1]), None", "test_streams and same_bytes"),
    Mutant("P3", "c3align/io/device.py", "            lane.end.wait(self._now.stream)\n", "", "test_streams and before_it_was_copied"),
    Mutant("P3", "c3align/io/device.py", "        self.end.synchronize()\n", "", "test_streams and before_it_was_copied"),
    Mutant("P3", "c3align/io/device.py", "self.n_used - 1, shape", "0, shape", "test_streams and both_sides"),
    Mutant("P3", "c3align/io/device.py", "            room.numpy()[...] = rows", "            pass", "test_streams and skipped_alike"),
    Mutant("P5", "c3align/io/device.py", "        if self.device.type not in _KINDS:", "        if False:", "test_streams and other_devices"),
    Mutant("P5", "c3align/io/device.py", "the limit was {max(", "the limit was {min(", "test_streams and slow_stage"),
    Mutant("P7", "c3align/io/mirror.py", "is_done = self.journal.has(name, found, self.source.paths[number], target, self.rules.redo)", "is_done = target.is_file()", "test_trees and changed_shard"),
    Mutant("P7", "c3align/io/progress.py", "    if not is_known:\n", "    if False:\n", "test_trees and changed_shard"),
    Mutant("P5", "c3align/io/progress.py", '    if config.get("format") != FORMAT:\n', "    if False:\n", "test_resume and no_checkpoint"),
    Mutant("P5", "c3align/io/digests.py", 'raise FormatError(f"{os.fspath(path)}: {error}") from error', "raise", "test_resume and damaged_one_is_named"),
    Mutant("P7", "c3align/io/progress.py", 'and digests.of_file(target) == entry.get("sha256")', "", "test_resume and flipped_bit"),
    Mutant("P7", "c3align/io/progress.py", 'and digests.of_file(path) == before["content"]', "", "test_resume and between_the_pieces"),
    Mutant("P7", "c3align/io/atomic.py", "_is_at(handle, lock)", "True", "test_resume and removed_meanwhile"),
    Mutant("P7", "c3align/cli/_fit.py", "with atomic.alone(kept.path):", "if True:", "test_resume and refused_until"),
    Mutant("P7", "c3align/io/writing.py", "left = left[os.write(self._handle, left) :]", "os.write(self._handle, left)\n            break", "test_trees and full_disk"),
    Mutant("P1", "c3align/_exact.py", "(1 + 2.0**-40) * sums * sums < n", "sums * sums * 0 < n", "test_persistence and sums"),
    Mutant("P5", "c3align/cli/_learning.py", "zeros_too) for side in sides]", "zeros_too) for side in sides[:1]]", "test_trees and pairs_go_together"),
    Mutant("P5", "c3align/cli/_learning.py", "if each[0][i] else (self.second or self.first, partners[i])", "", "test_trees and row_that_is_bad"),
    Mutant("P5", "c3align/cli/_learning.py", "first_bad(as_rows(sides[0])) < 0 <=", "len(sides) < 0 <=", "test_trees and row_that_is_bad"),
    Mutant("P5", "c3align/cli/_fit.py", "    if pair and len(found) > 1:\n", "    if False:\n", "one_tree_is_not_paired"),
    Mutant("P5", "c3align/cli/_fit.py", 'if place.name in ("", "..") else place', 'if False else place', "folder_that_one_is_in"),
    Mutant("P6", "c3align/io/columns.py", '_NUMBERS.check(self.shape[0] * self.shape[1], "numbers", size, None)', "pass", "attacks and rows_of_nothing"),
    Mutant("P11", "c3align/cli/_app.py", "if len(known) > 1:", "if False:", "another_encoder"),
    # captioners: search, noise, blocks, checkpoints, files
    Mutant("nn", "c3align/neighbours.py", "best.scores[:, -1] - error", "best.scores[:, -1] + error", "near_ties or sorted_products"),
    Mutant("nn", "c3align/neighbours.py", "np.lexsort((all_indices, -all_scores, every))", "np.lexsort((-all_indices, -all_scores, every))", "sorted_products"),
    Mutant("nn", "c3align/neighbours.py", "step = -(-source.n_rows // TRAINING_ROWS)", "step = max(1, source.n_rows // TRAINING_ROWS)", "trained_on_than_said"),
    Mutant("nn", "c3align/neighbours.py", 'if getattr(index, "d", n_dims) != n_dims:', "if False:", "width_or_of_distances"),
    Mutant("nn", "c3align/neighbours.py", 'if getattr(index, "metric_type", INNER_PRODUCT) != INNER_PRODUCT:', "if False:", "width_or_of_distances"),
    Mutant("nn", "c3align/neighbours.py", "if groups is not None and self._groups is None:", "if False:", "made_once_and_asked"),
    Mutant("data", "c3align/datasets.py", "return replace(whole, names=[*whole.names])", "return whole", "change_them_for_others"),
    Mutant("data", "c3align/datasets.py", "names, _read_only(whole.code_points[chosen])", "names, whole.code_points[chosen]", "change_them_for_others"),
    Mutant("nn", "c3align/neighbours.py", "usable &= self._groups[proposed] != own[:, None]", "pass", "flat_one"),
    Mutant("cap", "c3align/training/rows.py", "seed=seed_of(self.seed, epoch)", "seed=seed_of(self.seed, 0)", "fresh_every_epoch"),
    Mutant("cap", "c3align/training/rows.py", "row_offset=part.start)", "row_offset=0)", "blocks_of_a_memmap"),
    Mutant("cap", "c3align/training/rows.py", "first_row + _beyond_the_middle(as_rows(X), own.mean, gap)", "np.empty(0)", "not_even_one"),
    Mutant("cap", "c3align/decoders/prefix/checks.py", "if _far(logits[:, :-1], lm(", "if False and _far(logits, lm(", "computes_otherwise"),
    Mutant("cap", "c3align/decoders/prefix/checks.py", "if _far(torch.stack(", "if False and _far(torch.stack(", "computes_otherwise"),
    Mutant("cap", "c3align/decoders/prefix/checks.py", ".get(\"tokenizer_class\") in PLAIN", " == {}", "without_rules_of_its_own"),
    Mutant("cap", "c3align/decoders/prefix/checks.py", "for reason in (_not_the_same_again(lm), _tried(lm))", "for reason in (_tried(lm),)", "does_not_describe"),
    Mutant("cap", "c3align/decoders/prefix/language_models.py", ' or ".modules_to_save." in name', "", "what_is_taken_comes_back"),
    Mutant("cap", "c3align/decoders/prefix/language_models.py", '"output_loading_info": True, "dtype": dtype}', '"output_loading_info": True}', "loaded_as_float32"),
    Mutant("cap", "c3align/decoders/prefix/files.py", '"float32" if learns else "auto"', '"float32"', "that_rest_may_be_half"),
    Mutant("cap", "c3align/decoders/prefix/decoding.py", 'neutral(lm) if kept == "drop" else {}', "{}", "or_dropped"),
    Mutant("cap", "c3align/decoders/captions.py", "rows=source.rows.take(kept)", "rows=source.rows", "left_out_on_request"),
    Mutant("cap", "c3align/training/loop.py", "                self._check_weights()\n", "", "that_are_lost_with_a_finite_loss"),
    Mutant("cap", "c3align/cli/_decode.py", "    _pipeline_files.check_place(output)\n", "", "before_anything_is_learned"),
    Mutant("enc", "c3align/encoders/transformers.py", "[text.lower() for text in texts] if self._lower", "texts if self._lower", "fixed_resolution"),
    Mutant("enc", "c3align/encoders/sentence_transformers.py", "{model.max_seq_length} {prompt}", "{model.max_seq_length}", "default_prompt"),
    Mutant("enc", "c3align/encoders/sentence_transformers.py", "not set(shell.state_dict()) <= set(weights.shapes)", "False", "under_another_name"),
    Mutant("enc", "c3align/encoders/fingerprints.py", "json.dumps([rules, [", "json.dumps([len(rules), [", "word_of_the_tokenizer"),
    Mutant("cap", "c3align/decoders/prefix/task.py", "own = None if self.groups is None else", "own = None if True else", "without_its_own_caption"),
    Mutant("cap", "c3align/decoders/prefix/task.py", "if learns else np.full_like(targets, IGNORED)", "if True else targets", "learns_nothing"),
    Mutant("cap", "c3align/decoders/prefix/tokens.py", "(piece[:max_tokens], end)]", "(piece[:max_tokens], end * 0)]", "cut_and_ended"),
    Mutant("cap", "c3align/decoders/prefix/decoder.py", "        task.tokens.warn_of_cuts()\n", "", "says_that_captions_are_cut"),
    Mutant("cap", "c3align/decoders/prefix/task.py", "if n_rows == len(self):", "if False:", "cannot_be_held_out"),
    Mutant("P7", "c3align/decoders/prefix/task.py", 'lora = {} if self.lora is None else {"lora": self.lora}', "lora = dict[str, Any]()", "run_of_the_same_weights"),
    Mutant("P7", "c3align/decoders/prefix/task.py", "searched = [] if found.index is None else [found.index]", "searched = list[str]()", "run_of_the_same_weights"),
    Mutant("P7", "c3align/decoders/pictures/task.py", 'return found if self.critic is None else {**found, "critic": self.critic.identity()}', "return found", "run_of_another_critic"),
    Mutant("cap", "c3align/decoders/prefix/decoding.py", 'check_whole("block_size", given)', "given", "what_generate_cannot_take"),
    Mutant("cap", "c3align/decoders/prefix/model.py", "F.pad(wanted, (prefix.shape[1] - 1, 1))", "F.pad(wanted, (prefix.shape[1], 0))", "models_own_in_float64"),
    Mutant("cap", "c3align/decoders/prefix/decoder.py", 'decoding.block_size(options.pop("block_size", None), self.lm.device.type)', "len(rows)", "blocks_of_one_size"),
    Mutant("cap", "c3align/decoders/prefix/decoding.py", "row_offset=self.first_row", "row_offset=0", "test_sampling"),
    Mutant("cap", "c3align/decoders/prefix/decoding.py", "(-uniform_logs).log()", "uniform_logs", "follow_the_softmax"),
    Mutant("cap", "c3align/decoders/prefix/decoding.py", "width = 1 + prefix.shape[1]", "width = prefix.shape[1]", "blocks_of_one_size"),
    Mutant("cap", "c3align/training/loop.py", "self.share.n_processes / count", "1 / sum(p.tokens.size for p in pieces)", "token_on_average"),
    Mutant("P7", "c3align/training/loop.py", '"state": moments', '"state": {}', "stopped_at_any_step"),
    Mutant("P7", "c3align/training/loop.py", "skip=self.step - epoch * n_batches", "skip=0", "stopped_at_any_step"),
    Mutant("cap", "c3align/decoders/captions.py", "zip_longest(rows, marks, fillvalue=absent)", "zip(rows, marks)", "a_fingerprint_for_each"),
    Mutant("cap", "c3align/training/settings.py", "    if warmup > 1:", "    if False:", "in_steps_or_share"),
    Mutant("cap", "c3align/training/settings.py", "        return int(warmup)\n", "        return float(warmup)\n", "in_steps_or_share"),
    Mutant("enc", "c3align/encoders/precomputed.py", 'found.dtype.kind not in "iu"', 'found.dtype.kind not in "iubfU"', "no_number_of_a_row"),
    Mutant("P11", "c3align/decoders/captions.py", "if mark is not None and", "if False and", "another_encoder"),
    Mutant("cap", "c3align/decoders/retrieval.py", 'unit = ops.normalize(rows, zero_rows="keep")', "unit = rows", "norms_do_not_matter"),
    Mutant("cap", "c3align/decoders/retrieval.py", 'yield part, block if are_unit else', "yield part, block if True else", "norms_do_not_matter"),
    Mutant("draw", "c3align/decoders/pictures/decoder.py", 'RowSource.of(ops.normalize(wide, zero_rows="keep"))', "RowSource.of(wide)", "half_way"),
    Mutant("P6", "c3align/decoders/retrieval.py", "if rows.dtype != np.float32 or", "if", "test_memory_captioner and attacks"),
    Mutant("P6", "c3align/decoders/place.py", '        container.check_tensors(found, expected, "decoder")\n', "", "test_embedding_generator and attacks"),
    Mutant("P6", "c3align/decoders/memory.py", '        container.check_tensors(tensors, {}, "decoder")\n', "", "other_tensors_are_refused"),
    Mutant("draw", "c3align/decoders/pictures/decoder.py", "if stack.ndim == 4 and stack.shape[1] in (1, 3, 4) and stack.shape[3] > 4:", "if False:", "refusals_of_fit"),
    Mutant("draw", "c3align/decoders/pictures/decoder.py", 'getattr(picture, "mode", None) == "P"', "False", "refusals_of_fit"),
    Mutant("draw", "c3align/decoders/pictures/decoder.py", "        _check_size(source.rows.shape[1], stack.shape[1:], width)\n", "", "refusals_of_fit"),
    Mutant("draw", "c3align/decoders/pictures/decoder.py", 'check_whole("width", self.width, 1, MAX_WIDTH)', 'check_whole("width", self.width)', "refusals_of_fit"),
    Mutant("P5", "c3align/decoders/place.py", "if (means > most).any():", "if False:", "not_aligned or centered_by_another"),
    Mutant("P5", "c3align/decoders/place.py", "few = len(np.unique(components.round(5), axis=0)) < ENOUGH", "few = False", "no_aligned_row_is_refused"),
    Mutant("P5", "c3align/decoders/diffusion.py", "if length >= LEAST_MEAN and along < PART * length:", "if False:", "aligned_rows_of_norm_one"),
    # decoders of pictures
    Mutant("draw", "c3align/centering.py", "if other in (None, name) and not mixed and shift(state, name, glance) <= most:", "if not mixed and shift(state, name, glance) <= most:", "near_by_is_named"),
    Mutant("draw", "c3align/training/rows.py", "problem = centering.doubt_about(modality, state, glance, centering.FAR, mixtures=False)", "problem = None", "texts_of_clip"),
    Mutant("draw", "c3align/training/rows.py", "row_offset=part.start)", "row_offset=0)", "noise_is_the_aligners"),
    Mutant("draw", "c3align/training/rows.py", "rng = np.random.default_rng([self.seed, epoch])", "rng = np.random.default_rng(self.seed)", "new_every_epoch"),
    Mutant("draw", "c3align/training/loop.py", "\"state\": moments", "\"state\": {}", "goes_on_to_the_same_bits"),
    Mutant("draw", "c3align/decoders/pictures/task.py", "[self.source.digest(), digest_of(self.pictures)]", "[digest_of(self.pictures)]", "checkpoint_of_another_run"),
    Mutant("draw", "c3align/decoders/pictures/task.py", "F.cosine_similarity(seen, clean[:n_seen])", "(seen * clean[:n_seen]).sum(1)", "cosine_with_the_clean_row"),
    Mutant("draw", "c3align/training/loop.py", "if self.share.n_processes == 1 else {}", "if False else {}", "learns_nothing_itself"),
    Mutant("draw", "c3align/decoders/pictures/decoder.py", "with torch.random.fork_rng(devices=[]):", "if True:", "a_seed_is_a_generator"),
    Mutant("draw", "c3align/io/container.py", "if not finite.all():", "if False:", "attacks"),
    Mutant("draw", "c3align/decoders/heads.py", "np.concatenate([negatives, rows])", "np.concatenate([rows, negatives])", "negative_first"),
    Mutant("draw", "c3align/decoders/heads.py", "True, True, max_rows=1)", "True, True)", "own_picture_alone"),
    Mutant("draw", "c3align/decoders/heads.py", 'dtype=pipeline.unet.dtype', 'dtype=torch.float32', "half_precision"),
    Mutant("draw", "c3align/decoders/diffusion.py", "row_generator(seed, row_offset + row)", "row_generator(seed, row_offset + row - part.start)", "own_noise"),
    Mutant("draw", "c3align/decoders/diffusion.py", "if value is not None or name not in BY_ROW", "if True", "no_prompt_is_as"),
    Mutant("draw", "c3align/decoders/diffusion.py", "expected is not None and not", "False and not", "aligned_rows_are_refused"),
    Mutant("draw", "c3align/decoders/diffusion.py", "if nearest not in (None, self.modality_):", "if False:", "texts_warn"),
    Mutant("draw", "c3align/decoders/pictures/decoder.py", "ops.normalize(unit + memory", "ops.normalize(memory", "half_way"),
    Mutant("P11", "c3align/decoders/pictures/decoder.py", '        self.encoder_fingerprint_ = getattr(aligner, "encoder_fingerprint_", None)\n', "", "test_embedding_generator and a_round_trip"),
    # scores
    Mutant("score", "benchmarks/paper/scores/_captions.py", '" ".join(caption.replace("|||", " ").split()) + "\\n"', 'caption + "\\n"', "another_ones_place"),
    Mutant("score", "benchmarks/paper/scores/_captions.py", "    if missing:", "    if False:", "never_downloads"),
    Mutant("score", "benchmarks/paper/scores/_captions.py", "if len(references) < 2:", "if False:", "one_item_has"),
    Mutant("score", "benchmarks/paper/scores/_captions.py", "for lists in (references, samples)\n    )", "for lists in (samples, references)\n    )", "by_hand"),
    Mutant("score", "benchmarks/paper/scores/_words.py", "total / len(wanted)", "total / max(1, hits)", "word_map_by_hand"),
    Mutant("score", "benchmarks/paper/scores/_words.py", "allowed |= _bigrams(caption)", "allowed += _bigrams(caption)", "by_hand"),
    Mutant("score", "benchmarks/paper/scores/_pictures.py", "torch.manual_seed(seed)", "torch.manual_seed(0)", "follow_from_the_seed"),
    Mutant("score", "benchmarks/paper/scores/_pictures.py", "metric.update(torch.from_numpy(generated), real=False)\n    return", "metric.update(torch.from_numpy(real), real=False)\n    return", "fid_and_kid"),
    Mutant("score", "benchmarks/paper/scores/_read.py", "parts = [table[item] for item in candidates.ids]", "parts = found.captions[: len(candidates.ids)]", "join_in_any_order"),
    # encoder, aligner, decoder in a row; the demo; the paper's entries
    Mutant("pipe", "c3align/pipeline.py", "            if modality not in self._fitted():\n                self.aligner.partial_fit(rows", "            if True:\n                self.aligner.partial_fit(rows", "mean_that_is_known"),
    Mutant("pipe", "c3align/encoders/binding.py", "        aligner.__dict__ = before", "        pass", "failed_fit_leaves"),
    Mutant("pipe", "c3align/pipeline.py", "row_offset=batch.kept[start]", "row_offset=0", "sampled_captions_do_not"),
    Mutant("P5", "c3align/pipeline.py", ".all(axis=1) & batch.rows.any(axis=1)", ".all(axis=1)", "test_pipeline and bad_embeddings"),
    Mutant("P11", "c3align/encoders/binding.py", "if bound not in (None, encoder.fingerprint):", "if False:", "another_encoders_aligner"),
    Mutant("P11", "c3align/pipeline.py", '        check_encoder("decoder", decoder, self.encoder)\n', "", "test_pipeline and another_encoders_decoder"),
    Mutant("P11", "c3align/encoders/binding.py", "if n_dims not in (None, encoder.n_dims):", "if False:", "test_pipeline and another_encoders_decoder"),
    Mutant("P11", "c3align/encoders/binding.py", '    check_encoder("aligner", aligner, encoder)\n    with', "    with", "learns_none_of_another"),
    Mutant("pipe", "c3align/pipeline.py", 'if self.decoder.takes == "raw" and', "if False and", "test_pipeline and raw_decoder_stays"),
    Mutant("pipe", "c3align/encoders/base.py", '    check_whole("batch_size", batch_size)\n    check_choice("on_error"', '    check_choice("on_error"', "batches_of_no_items"),
    Mutant("P6", "c3align/_pipeline_files.py", 'or config["decoder"] not in DECODERS:', "or False:", "test_pipeline and damage_is_named"),
    Mutant("P7", "c3align/cli/_decode.py", 'scratch.open("w"', 'path.open("w"', "test_cli_decode and broken_files"),
    Mutant("demo", "c3align/cli/demo/_tasks.py", "    if not collapse:", "    if False:", "without_collapse"),
    Mutant("demo", "c3align/cli/demo/_tasks.py", "return pipeline.fit_text(names,", "return pipeline.fit_text(names + material.held_out.names,", "test_demo and one_modality_alone"),
    Mutant("demo", "c3align/cli/demo/_tasks.py", "np.argsort(-likeness,", "np.argsort(likeness,", "chosen_without_their_names"),
    Mutant("paper", "benchmarks/paper/_data.py", 'if image["split"] == "restval"', 'if image["split"] == "val"', "TestReaders and test_coco"),
    Mutant("paper", "benchmarks/paper/_data.py", "not characters.is_held_out(point)", "True", "nothing_is_tuned"),
    Mutant("paper", "benchmarks/paper/_results.py", "if all(record.get(name) == value", "if False and all(record.get(name) == value", "not_run_again"),
    # gradients
    Mutant("grad", "c3align/ops/torch.py", "return (g - (g * unit)", "return (g + (g * unit)", "finite_differences"),
    Mutant("grad", "c3align/ops/torch.py", "op(wide, mean, scale, shift, False, True", "op(wide, mean, scale, shift, True, True", "finite_differences"),
    # geometry: one of each group of measures
    Mutant("geo", "benchmarks/paper/_lemmas.py", "pull @ (y - y[:1])", "pull @ y", "lemma_1_nothing_pulls"),
    Mutant("geo", "benchmarks/paper/_lemmas.py", "np.fill_diagonal(shares, np.diagonal(shares) - 1)", "pass", "autograd"),
    Mutant("geo", "benchmarks/paper/_lemmas.py", "(gradient * unit).sum(axis=1, keepdims=True) * unit", "0", "lemma_1_by_finite"),
    Mutant("geo", "benchmarks/paper/_lemmas.py", "np.log(np.expm1(delta))", "delta", "lemma_2"),
    Mutant("geo", "benchmarks/paper/_lemmas.py", "scores[rows, start + rows] = -np.inf", "scores[rows, rows] = -np.inf", "stable_region_in_blocks"),
    Mutant("geo", "c3align/geometry/_gap.py", "joined[-1:]", "joined[:0]", "blocks_of_any_size"),
    Mutant("geo", "c3align/geometry/_gap.py", "first.setdefault(digest, number)", "first[digest + bytes([number % 251])] = number", "leaves_repeats_out"),
    Mutant("geo", "c3align/geometry/_gap.py", "residual = (x - y) - gap", "residual = x - y", "notebook_literally"),
    Mutant("geo", "c3align/geometry/_gap.py", "participation_ratio(residual_spectrum(a, b))", "participation_ratio(residual_spectrum(a, b) ** 0.5)", "built_noise"),
    Mutant("geo", "c3align/geometry/_spectrum.py", "sums <= energy * total", "sums < energy * total", "energy_is_exceeded"),
    Mutant("geo", "benchmarks/paper/_lemmas.py", "sum(n_effective) + 2 * n_ineffective", "sum(n_effective) + n_ineffective", "initial_gap"),
    Mutant("geo", "c3align/geometry/_spectrum.py", "n_dims - size, n_dims - 1", "0, size - 1", "principal_angles"),
    Mutant("geo", "c3align/geometry/_distributions.py", "- 2 * common", "- common", "formula_of_fid"),
    Mutant("geo", "c3align/geometry/_distributions.py", "is_b & ~held", "is_b", "separability or TestSeparability"),
    Mutant("geo", "c3align/geometry/_distributions.py", "exponents[rows, start + rows] = -np.inf", "pass", "wang_and_isola"),
    Mutant("geo", "c3align/geometry/_retrieval.py", "(centered**3).mean()", "np.abs(centered**3).mean()", "hubness or Neighbours"),
    Mutant("geo", "c3align/geometry/_retrieval.py", "scores[rows, start + rows] = -np.inf", "pass", "k_occurrence or bias"),
    Mutant("geo", "c3align/geometry/_rows.py", "X.n_rows / (X.n_rows - 1)", "1", "stand_for_rows"),
    Mutant("geo", "c3align/geometry/_rows.py", "ops.moments(rows)  # refuses", "pass  # refuses", "row_of_the_whole"),
    Mutant("geo", "c3align/geometry/_rows.py", "yield unit_part(rows, span if order", "yield unit_rows(rows)[span] if order is None else unit_part(rows, span if order", "never_copied_whole"),
    Mutant("geo", "benchmarks/paper/_theory_training.py", "-= 2\n", "-= 1\n", "steps_follow"),
    Mutant("geo", "benchmarks/paper/_theory_training.py", "step > done", "step >= done", "survives_a_kill"),
    Mutant("geo", "benchmarks/paper/_theory_training.py", "rows[:, unused] @ basis", "rows[:, unused] @ basis / 2", "fewer_dimensions"),
    # public docstrings
    Mutant("mean", "c3align/centering.py", "max(1 / 2, SURPRISE * along.std() / math.sqrt(len(along)))", "1 / 2", "inverse_of_raw"),
    Mutant("mean", "c3align/centering.py", "mean.any() and is_moved and", "mean.any() and", "no_mapping_makes_raw"),
    Mutant("P1", "c3align/distributed/__init__.py", "        merged.merge(part)", "        pass", "bytes_of_one_process"),
    Mutant("P1", "c3align/distributed/__init__.py", 'if "cpu" in kinds:', "if True:", "backend_takes"),
    Mutant("P1", "c3align/distributed/__init__.py", "    if wrong:", "    if False:", "error_of_one_is_told"),
    Mutant("P1", "c3align/distributed/ray.py", "return C3Aligner.from_bytes(current_accumulator).merge(C3Aligner.from_bytes(new)).to_bytes()", "return new", "any_blocks_teach"),
    Mutant("P1", "c3align/distributed/ray.py", "fit(X, Y, modality=x, y_modality=y)", "fit(X, Y[::-1], modality=x, y_modality=y)", "any_blocks_teach"),
    Mutant("P2", "c3align/distributed/ray.py", "preserve_order = True", "preserve_order = False", "rows_stay_in_order"),
    Mutant("P5", "c3align/distributed/ray.py", "    if values.null_count:", "    if False:", "bad_rows_are_told"),
    Mutant("P5", "c3align/distributed/ray.py", "columns[found[0] == 'y']", "columns[0]", "partners_are_told_apart"),
    Mutant("P10", "c3align/distributed/ray.py", "rows = _rows_of(given, column)", "rows = _rows_of(table, column)", "kinds"),
    Mutant("Ray", "c3align/distributed/ray.py", "self._preprocessor._device = device", "pass", "get_what_is_asked"),
    Mutant("Ray", "c3align/distributed/ray.py", ".cast(kind)", "", "keeps_kinds"),
    Mutant("Ray", "c3align/distributed/ray.py", "return {name: aligner.to_bytes() for name, aligner in self.stats_.items()}", "return {}", "saved_and_loaded"),
    Mutant("P5", "c3align/cli/_fit.py", "centering.Glance.of(rows), centering.FAR", "centering.Glance.of(rows), 9", "two_modalities_as_one"),
    Mutant("P5", "c3align/cli/_merge.py", "        seen[folder] = part.state_\n", "", "same_rows_twice"),
    Mutant("P5", "c3align/_learn.py", "    for name in mine.same_rows(theirs):", "    for name in []:", "same_rows_twice"),
    Mutant("P1", "c3align/cli/_merge.py", "part.get_params() != whole.get_params()", "False", "TestMerge"),
    Mutant("P3", "c3align/ops/known_answers.py", 'return next(_differences(device), "")', 'return ""', "known_answers_find"),
    Mutant("P3", "c3align/ops/known_answers.py", "for step in (1, 2):", "for step in ():", "known_answers_find"),
    Mutant("P3", "c3align/ops/known_answers.py", "WIDTHS = (5, 768, 1025)", "WIDTHS = (5, 768)", "known_answers_find"),
    Mutant("P3", "c3align/ops/known_answers.py", "and torch.cuda.is_current_stream_capturing()", "and False", "told_once_and_kept"),
    Mutant("P3", "c3align/ops/cuda.py", "X.shape[-1] <= MAX_DIMS", "True", "who_computes"),
    Mutant("P6", "c3align/_matrices.py", "(covariance * (1 - 2.0**-22))", "(covariance * (1 + 2.0**-22))", "covariances_in_float32"),
    Mutant("P6", "c3align/covariance.py", "            np.fill_diagonal(products, statistics.variance)\n", "", "covariances_in_float32"),
    Mutant("docs", "c3align/_units.py", "    mix : float in [0, 1]\n        The weight a in ``(1 - a) x + a eps / ||eps||``, x a unit row.\n", "", "public_docstrings"),
    Mutant("docs", "c3align/neighbours.py", "    k : int\n        From 1 to m.\n", "    k : int\n", "public_docstrings"),
    Mutant("docs", "c3align/pipeline.py", "unseen.pictures[12:13]", "unseen.pictures[13:14]", "examples_print"),
    # report: all rows, samples, pictures, page
    Mutant("report", "c3align/io/rows.py", ' if getattr(part, "mode", None) == "r"]', "]", "private_map"),
    Mutant("report", "c3align/geometry/_retrieval.py", "(scores >= best[:, None]) & ~own)", "(scores >= best[:, None]))", "GroupsOfRecall"),
    Mutant("report", "c3align/geometry/_retrieval.py", "labels if labels.any() else", "labels if True else", "collapsed_space"),
    Mutant("report", "c3align/report/_samples.py", "apart = a != b", "apart = a == a", "several_captions"),
    Mutant("report", "c3align/geometry/_noise_fit.py", "astype(np.float64) @ root", "astype(np.float64)", "noise_of_the_model"),
    Mutant("report", "c3align/report/_samples.py", "if scaled:", "if False:", "false_positives_at"),
    Mutant("report", "c3align/report/_measure.py", "total = total + ModalityStatistics", "total = ModalityStatistics", "leave_no_trace"),
    Mutant("report", "c3align/io/rows.py", "counted from row {start} of", "counted from row 0 of", "count_rows_in_the_whole"),
    Mutant("report", "c3align/report/_measure.py", "statistics[i].mean, statistics[j].mean", "samples.rows(when)[i].mean(axis=0), samples.rows(when)[j].mean(axis=0)", "gap_and_sigma_are_of_all_rows"),
    Mutant("report", "c3align/report/_measure.py", "return lambda i, rows: aligner.transform(rows, modality=sources[i].name)", "pass", "what_the_aligner_makes"),
    Mutant("report", "c3align/report/_advice.py", "if abs(now - was) <= 2 * error:", "if True:", "it_follows_the_figures"),
    Mutant("report", "c3align/report/_figures.py", "noise = self.n_dims * (self.gap.sigma or 0.0) ** 2 / independent", "noise = 0.0", "one_constant_gap_in_noise"),
    Mutant("report", "c3align/report/_charts.py", "sigma = float(np.sqrt((eps**2).mean())) or 1.0", "sigma = 0.03", "TestPlots"),
    Mutant("report", "c3align/report/_charts.py", "samples.recall(when, a, b)\n            way", "samples.recall(when, b, a)\n            way", "TestPlots"),
    Mutant("report", "c3align/report/_svg.py", "place_y = _placed(y_range, chart.y_log, box[3], box[1])", "place_y = _placed(y_range, False, box[3], box[1])", "TestSvg"),
    Mutant("report", "c3align/report/_page.py", "autoescape=True", "autoescape=False", "names_cannot_act"),
    Mutant("report", "c3align/report/page.html", "{{ name }}</span>", "{{ name|safe }}</span>", "names_cannot_act"),
    Mutant("report", "c3align/report/page.html", " and not line.from_all", "", "sampling_is_stated"),
    Mutant("report", "c3align/report/page.css", ".scroll { overflow-x: auto; }", "", "TestBrowser"),
    Mutant("report", "c3align/report/page.js", "panel.hidden = chosen !== null && chosen !== k", "panel.hidden = chosen === k", "before_and_after_in_turn"),
    Mutant("report", "c3align/report/page.js", "mark.setAttribute(\"transform\"", "mark.setAttribute(\"data-x\"", "before_and_after_in_turn"),
    # tensors on their device
    Mutant("P3", "c3align/ops/_eager_math.py", "torch.where(midpoint, torch.nextafter(total, towards), total)", "total", "multiply_add_rounds_once"),
    Mutant("P3", "c3align/ops/_eager_math.py", "return torch.where(rest <= y * (below - y), below, y_above)", "return y", "roots_are_rounded"),
    Mutant("P3", "c3align/ops/_eager_math.py", "(slots[:, :, 0] + slots[:, :, 1]) + (slots[:, :, 2] + slots[:, :, 3])", "slots[:, :, 0] + slots[:, :, 1] + slots[:, :, 2] + slots[:, :, 3]", "test_device and bits"),
    Mutant("P3", "c3align/ops/_eager_math.py", "torch.full_like(norms, noise.radius) / norms", "noise.radius * norms.reciprocal()", "test_device and (bits or noise)"),
    Mutant("P4", "c3align/ops/_eager_math.py", "row_numbers >> 32 & _MASK", "row_numbers & 0", "test_device and (bits or noise)"),
    Mutant("P4", "c3align/ops/_eager_math.py", "return torch.where(negative_cosine, -c, c)", "return torch.where(quarter == 1, -c, c)", "at_every_end"),
    Mutant("P5", "c3align/ops/_eager_math.py", "(distance > _at_mean_limit(rows))", "(distance > 0)", "at_the_mean_have"),
    Mutant("P1", "c3align/ops/eager.py", "torch.where(usable, bits & 0x7FFFFF | 0x800000, 0)", "bits & 0x7FFFFF | 0x800000", "test_device and bits"),
    Mutant("P1", "c3align/ops/eager.py", "(values * FIXED_SCALE).round()", "(values * FIXED_SCALE)", "test_device and bits"),
    Mutant("P5", "c3align/ops/_device.py", "    elif asks:", "    elif False:", "test_device and refusals"),
    Mutant("P5", "c3align/ops/_device.py", "first_row + int(flags", "int(flags", "later_blocks_are_named"),
    Mutant("P4", "c3align/ops/eager.py", "    if ids is None:\n", "    if True:\n", "test_device and numbers_of_rows"),
    Mutant("P5", "c3align/ops/_device.py", "return (ids < 0).any() if", "return (ids < 0).all() & False if", "test_device and numbers_of_rows"),
    Mutant("module", "c3align/nn.py", '"row_ids": row_ids}', '"row_ids": None}', "rows_by_number"),
    Mutant("device", "c3align/ops/eager.py", "rows = X[block].to(", "rows = X[block].cpu().to(", "no_batch_goes"),
    Mutant("device", "c3align/ops/_compute.py", "    if not is_tensor(X) or X.is_cpu:", "    if True:", "test_device and meta"),
    Mutant("device", "c3align/ops/_eager_math.py", "near_one = rows * ((254 << 23) - power).view(torch.float32)", "near_one = rows", "without_float64"),
    Mutant("device", "c3align/ops/eager.py", ".to(torch.int64).clamp(max=1000)", ".to(torch.int64)", "noise_of_a_matrix"),
    Mutant("device", "c3align/ops/eager.py", "_BLOCK_ELEMENTS // X.shape[1]", "_BLOCK_ELEMENTS", "in_bounded_memory"),
    # the module: noise as Dropout's
    Mutant("module", "c3align/nn.py", "return torch.randint(0, _STEPS, (), dtype=torch.int64, device=device)", "return torch.zeros((), dtype=torch.int64, device=device)", "each_pass_has"),
    Mutant("module", "c3align/nn.py", "return torch.randint(0, _STEPS, (), dtype=torch.int64, device=device)", "return torch.tensor(np.random.default_rng().integers(_STEPS))", "activation_checkpointing"),
    Mutant("module", "c3align/nn.py", "return torch.randint(0, _STEPS, (), dtype=torch.int64, device=device)", "return torch.tensor(np.random.default_rng().integers(_STEPS))", "resumed_run"),
    Mutant("module", "c3align/nn.py", "return torch.randint(0, _STEPS, (), dtype=torch.int64, device=device)", "return torch.tensor(torch.initial_seed() % _STEPS)", "several_processes or workers_of_a_loader"),
    Mutant("module", "c3align/nn.py", 'or {"row_offset": _draw(X.device)}', 'and {"row_offset": _draw(X.device)}', "place_that_is_given"),
    Mutant("module", "c3align/nn.py", "modality, vectors = self._center(X, modality)", "(modality, vectors), _ = self._center(X, modality), _draw(X.device)", "is_left_alone"),
    Mutant("module", "c3align/nn.py", "noise.stream_seed(aligner.seed, name) for name", "aligner.seed for name", "two_modalities_is_independent"),
    Mutant("module", "c3align/noise.py", '"little") ^ seed', '"big") ^ seed', "streams_are_told_apart"),
    Mutant("module", "c3align/nn.py", "self._looked.add(modality)", "pass", "looked_at_once"),
    Mutant("module", "c3align/nn.py", 'state_dict.pop(f"{prefix}row_offset", None)', "pass", "old_one_is_taken"),
    Mutant("module", "c3align/nn.py", '{**self.__dict__, "_uploaded": {}}', "self.__dict__", "copies_and_pickles"),
    Mutant("module", "c3align/nn.py", "self._upload(fn(torch.empty(0)).device)", "pass", "vectors_move_with"),
    Mutant("module", "c3align/nn.py", "torch.from_numpy(vector).to(dtype)", "torch.from_numpy(vector).half().to(dtype)", "keeps_the_mean_whole"),
    Mutant("module", "c3align/nn.py", "if type(X) not in _PLAIN and not is_recorded:", "if False:", "fake_tensors_leave"),
    Mutant("module", "c3align/nn.py", "if torch.onnx.is_in_onnx_export():", "if False:", "TestOnnx"),
    # samples of rows, and calibrated scores
    Mutant("sample", "c3align/sample.py", "(words ^ (words >> 31))", "words", "keys_are_of_directions"),
    Mutant("sample", "c3align/sample.py", "np.lexsort((groups, keys))", 'np.argsort(keys, kind="stable")', "pairs_share_a_group"),
    Mutant("sample", "c3align/sample.py", "size = min(self.size, other.size)", "size = max(self.size, other.size)", "smaller_size"),
    Mutant("sample", "c3align/sample.py", "(self.keys[1:] <= self.keys[:-1])", "(np.diff(self.keys) <= 0)", "test_problems_are_seen"),
    Mutant("sample", "c3align/sample.py", "_smallest(keys[where], given[where], size)", "np.arange(min(len(where), size))", "test_sample"),
    Mutant("calib", "c3align/_unrelated.py", "(a.sample.groups[:, None] != b.sample.groups) & ", "", "groups_leave_related"),
    Mutant("calib", "c3align/_unrelated.py", "len(chosen) // 2 if a is b else len(chosen)", "len(chosen)", "seven_shards"),
    Mutant("calib", "c3align/_unrelated.py", "MOST_UNEQUAL = 2.5", "MOST_UNEQUAL = 1.1", "unequal_shares"),
    Mutant("calib", "c3align/_unrelated.py", " and most - least > 4 * math.sqrt(error + other)", "", "chance_raises"),
    Mutant("calib", "c3align/_unrelated.py", "piece - 1 * (piece > 0)", "piece - 1", "test_calibration"),
    Mutant("calib", "c3align/calibration.py", "uses_quantiles=bool(unequal))", "uses_quantiles=False)", "convirt_is_noticed"),
    Mutant("calib", "c3align/_odds.py", "WEIGHTS * ((1 - prior) / prior)", "WEIGHTS", "probabilities_are"),
    Mutant("calib", "c3align/calibration.py", "n_pairs[[i, j], [j, i]], related[[i, j], [j, i]] =", "n_pairs[i, j], related[i, j] =", "probabilities_are"),
    Mutant("calib", "c3align/_odds.py", "z = np.concatenate([pairs, others])", "z = np.concatenate([others, pairs])", "probabilities_are"),
    Mutant("calib", "c3align/_odds.py", "N_PLACES = 10", "N_PLACES = 1", "calibration_pairs and as_often_right"),
    Mutant("calib", "c3align/_odds.py", "BY_PAIRS / n_pairs + BY_SCORES / n_scores", "0", "calibration_pairs and straighter"),
    Mutant("calib", "c3align/_unrelated.py", "order_evidence(x, y) < BY_CHANCE", "order_evidence(x, y) < -9", "calibration_pairs and shuffled"),
    Mutant("calib", "c3align/_unrelated.py", "repeated(x, y) or misplaced(x, y)", "None", "calibration_pairs and same_rows"),
    Mutant("calib", "c3align/_unrelated.py", "least = math.ceil(", "least = math.floor(", "calibration_pairs and TestLeastRate"),
    Mutant("calib", "c3align/_unrelated.py", "if n_rows >= FEW_ROWS:", "if n_rows >= 60:", "calibration_pairs and three_times"),
    Mutant("calib", "c3align/_odds.py", "LEAST_SLOPE = 0.01", "LEAST_SLOPE = -9.0", "calibration_pairs and rise_with"),
    Mutant("calib", "c3align/calibration.py", "max(MIN_EXCEEDING / int", "max(0 / int", "TestDegenerateRows"),
    Mutant("calib", "c3align/calibration.py", "points, which = np.unique(self.quantiles[i, j][seen], return_inverse=True)", "points, which = self.quantiles[i, j][seen], np.arange(seen.sum())", "repeated_scores"),
    Mutant("calib", "c3align/_unrelated.py", "others & (a.folds[:, None] == b.folds)", "others", "rows_of_a_fold"),
    Mutant("calib", "c3align/calibration.py", "if not self.is_held_out and (", "if (", "rows_of_a_fold"),
    Mutant("calib", "c3align/_held_out.py", "for out in (True, False)]", "for out in (False, True)]", "others_teach or holds_for_new"),
    Mutant("calib", "c3align/_held_out.py", "numbers % FOLDS for", "np.arange(len(numbers)) % FOLDS for", "partners_are_in_one_fold"),
    Mutant("calib", "c3align/_held_out.py", "found.n_rows < max(SIZE, 2 * state.n_dims)", "found.n_rows < 0", "holds_for_new_rows"),
    Mutant("calib", "c3align/_held_out.py", " or state.samples[name].counts.sum() > MOST_ROWS", "", "came_very_often"),
    Mutant("calib", "c3align/_held_out.py", "CrossCovariance(_less(found.x, gone.x), _less(found.y, gone.y), found.products - gone.products)", "found", "others_teach"),
    Mutant("calib", "c3align/_held_out.py", "        _warn_of_strangers(about)\n", "        pass\n", "learned_apart_are_told"),
    Mutant("calib", "c3align/merging.py", "enumerate(documents, 1)", "enumerate(documents)", "merge_by_rank"),
    # loading (P6)
    Mutant("P6", "c3align/_state_tensors.py", "    if problem:\n        raise", "    if False:\n        raise", "attack"),
    Mutant("P6", "c3align/io/container.py", "for name in sorted(set(found) ^ set(expected)):", "for name in []:", "attack"),
    Mutant("P6", "c3align/io/container.py", "parse_constant=refuse, ", "", "attack"),
    Mutant("P6", "c3align/persistence.py", "if path.stat().st_size > payload + MAX_HEADER_BYTES + 8:", "if False:", "attack"),
    Mutant("P6", "c3align/persistence.py", "config.get(\"numerics\") != NUMERICS or", "", "attack"),
    Mutant("P6", "c3align/_state_tensors.py", "return _checked(kind(int(counts[0]), int(counts[1]), *sums), place)", "return kind(int(counts[0]), int(counts[1]), *sums)", "attack"),
    Mutant("P6", "c3align/covariance.py", "if (np.abs(p - m * mean) > s * spread + 2 * bound).any():", "if False:", "attack or problems"),
    # folders of other libraries: no code, no other files, no memory beyond the weights (P6)
    Mutant("P6", "c3align/io/model_configs.py", "if key in CODE and value:", "if False:", "test_attacks and names_a_model_class_of_a_file"),
    Mutant("P6", "c3align/io/model_configs.py", "if name not in IMPLEMENTATIONS:", "if False:", "test_attacks and kernel_of_the_hub"),
    Mutant("P6", "c3align/io/model_configs.py", "if number > _most(", "if False and number > _most(", "test_attacks and a_billion_labels"),
    Mutant("P6", "c3align/io/model_configs.py", '(".." in name or os.path.lexists(name))', '(".." in name)', "test_attacks and vocabulary_from_the_machine"),
    Mutant("P6", "c3align/io/model_folders.py", "if path.is_symlink() and not any(", "if False and not any(", "test_attacks and vocabulary_to_a_secret"),
    Mutant("P6", "c3align/io/model_folders.py", '(path.parent / "blobs" for', '(path / "blobs" for', "test_model_folders and cache_of_the_hub"),
    Mutant("cap", "c3align/training/hf.py", "seed_of(self.seed, int(self._epoch))", "self.seed", "test_training_hf and each_number_and_epoch"),
    Mutant("cap", "c3align/training/hf.py", "self.collator.set_epoch(int(state.epoch + 1e-6))", "self.collator.set_epoch(self.collator._epoch + 1)", "test_training_hf and resumed"),
    Mutant("cap", "c3align/decoders/prefix/model.py", "prefix.shape[1] - 1 : -1]", "prefix.shape[1] :]", "test_training_hf and each_word"),
    Mutant("P6", "c3align/io/vectors.py", "or name not in _CALLS:", "or False:", "test_attacks and run_a_program"),
    Mutant("P6", "c3align/io/vectors.py", "if n_calls > MAX_CALLS or", "if", "test_attacks and a_million_arrays"),
    Mutant("P6", "c3align/io/vectors.py", "(inner and name == _NESTED)", "False", "test_published and files_within_files"),
    Mutant("P6", "c3align/io/hub.py", "if path.exists():", "if path.exists() and not is_id(name):", "test_hub and before_the_hub"),
    Mutant("P6", "c3align/hub.py", ", delete_patterns=ours", "", "test_hub and earlier_push"),
    Mutant("P10", "c3align/hub.py", "    if found and not any(", "    if False and any(", "test_hub and another_project"),
    Mutant("P6", "c3align/io/model_folders.py", "if needed > weights.n_numbers:", "if False:", "test_attacks and vocabulary_of_millions"),
    Mutant("P6", "c3align/io/model_folders.py", "if n_made > most:", "if False:", "test_attacks and three_thousand_layers"),
    Mutant("P6", "c3align/io/model_folders.py", "if free > FREE_BYTES + weights.n_bytes:", "if False:", "test_model_folders and nothing_is_allocated"),
    Mutant("P6", "c3align/io/model_folders.py", "if told.get(kind):", "if False:", "test_attacks and renames_a_tensor"),
    Mutant("P6", "c3align/io/model_folders.py", "if not tensor.isfinite().all():", "if False:", "test_attacks and is_no_number"),
    Mutant("P6", "c3align/encoders/sentence_transformers.py", "if known is None:", "if known is None and False:", "test_attacks and lists_a_class_of_python"),
    Mutant("P6", "c3align/encoders/open_clip.py", 'or any(folder.glob("open_clip_pytorch_model.*"))', "", "test_attacks and a_pickle_that_open_clip_prefers"),
    Mutant("P6", "c3align/decoders/prefix/files.py", "    _check_mapper(config, lm, tensors)\n", "", "test_attacks and mapper_of_gigabytes"),
    Mutant("P6", "c3align/decoders/prefix/language_models.py", "    if problem is not None:", "    if False:", "test_attacks and (searches_for_ages or imports_by_lora)"),
    Mutant("P6", "c3align/_pipeline_files.py", 'encoders.check_claim(chosen, config["encoder"]["fingerprint"])', "pass", "test_attacks and states_another_encoder"),
    Mutant("P6", "c3align/_imports.py", "    refuse_unsafe(module)\n    try:", "    try:", "test_model_folders and with_holes"),
    # mappings
    Mutant("map", "c3align/covariance.py", "size = len(self.covariance), float((self.covariance**2).mean())", "size = len(self.covariance), float((self.covariance**2).sum())", "test_mappings and shrinkage"),
    Mutant("map", "c3align/cross_covariance.py", "return CrossCovariance(self.y, self.x, self.products.T)", "return CrossCovariance(self.y, self.x, self.products)", "test_mappings and (either_way or cross)"),
    Mutant("map", "c3align/cross_covariance.py", "(v, v), (u, v)", "(v, v), (v, u)", "test_mappings and (ridge or cross)"),
    Mutant("map", "c3align/mappings/_unpaired.py", "np.linalg.solve(root.T, vectors) * sizes**0.25", "np.linalg.solve(root.T, vectors) * sizes**0.5", "test_mappings and scipy"),
    Mutant("map", "c3align/mappings/_unpaired.py", "(identity + np.linalg.inv(across)) / 2", "(identity + across) / 2", "test_mappings and scipy"),
    Mutant("map", "c3align/mappings/_unpaired.py", "return size <= tolerance or", "return size <= 1 or", "test_mappings and barycenter"),
    Mutant("map", "c3align/mappings/_unpaired.py",  " or before <= size < _ROUNDING", "", "test_mappings and for_two or an_iteration_ends"),
    Mutant("map", "c3align/mappings/_unpaired.py", "+ missed + goal", "+ goal", "test_mappings and realign"),
    Mutant("map", "c3align/mappings/_unpaired.py", "slope = scale * center - scale**2", "slope = scale * center + scale**2", "test_mappings and realign"),
    Mutant("map", "c3align/mappings/_unpaired.py", "where=spread**2 > NO_VARIANCE", "where=spread >= 0", "test_mappings and edges"),
    Mutant("map", "c3align/mappings/_unpaired.py", "sizes[n_dims - self.n_directions :] > _SAME", "sizes[n_dims - self.n_directions :] > -1", "test_mappings and identity"),
    Mutant("map", "c3align/mappings/_learned.py", "> _SINGULAR:", "> 0:", "test_mappings and edges"),
    Mutant("map", "c3align/mappings/_learned.py", "<= NO_VARIANCE * found.statistics.n_dims", "< 0", "test_mappings and edges"),
    Mutant("map", "c3align/mappings/_affine.py", "if not sizes.min() * _MOST_CONDITION > sizes.max():", "if not sizes.min() > 0:", "test_mappings and more_refusals"),
    Mutant("map", "c3align/mappings/_affine.py", "values = np.array(values, np.float64)", "values = np.asarray(values, np.float64)", "test_mappings and join_and_invert"),
    Mutant("map", "c3align/mappings/_paired.py", "sizes[-1] <= sizes[0] * len(sizes) * np.finfo(np.float64).eps", "False", "test_mappings and edges"),
    Mutant("map", "c3align/mappings/_paired.py", "self.alpha / found.n_rows * identity", "self.alpha * identity", "test_mappings and sklearn"),
    Mutant("map", "c3align/mappings/_quantiles.py", "< BIN_WIDTH**2", "< 0", "test_mappings and edges"),
    # replaced whole (P7)
    Mutant("P7", "c3align/io/atomic.py", "        os.replace(scratch, target)", "        target.write_bytes(scratch.read_bytes())", "survives or kill"),
    Mutant("P7", "c3align/io/atomic.py", "            os.rename(aside, target)", "            pass", "old_or_the_new or all_or_nothing"),
    Mutant("P7", "c3align/io/atomic.py", "if not path.exists() and _aside(path).exists()", "if False", "between_the_renames"),
    Mutant("P7", "c3align/io/container.py", "            atomic.remove(target / CONFIG_FILE)", "            pass", "after_a_kill_at_any_step"),
    # nothing changed passes (P6), scratch of the dead alone is removed (P7)
    Mutant("P6", "c3align/io/container.py", "if not is_signed(content):", "if False:", "flips_are_refused"),
    Mutant("P6", "c3align/io/container.py", "elif is_old:", "elif True:", "test_p6_attack_files"),
    Mutant("P6", "c3align/io/container.py", "if copy == readable(config, content):", "if True:", "TestConfigCopy"),
    Mutant("P6", "c3align/io/container.py", "return bool(read_config(path, \"file\").get(\"format\") != form)", "return False", "something_else_stays"),
    Mutant("P6", "c3align/io/digests.py", "or of_file(root / name) != expected[name]", "", "flips_are_refused"),
    Mutant("P6", "c3align/io/digests.py", "sorted(set(found) ^ set(expected))", "[]", "plants or lacks or too_little"),
    Mutant("P6", "c3align/io/digests.py", "if first + len(rows) == n_rows and", "if False and", "whole_reads"),
    Mutant("P6", "c3align/io/digests.py", "        if self._next != (path, first):\n            return\n", "", "whole_reads"),
    Mutant("P6", "c3align/io/shards.py", "noted.get(self.run_path.name) != digests.of_file(self.run_path)", "False", "rows_of_another_encoder"),
    Mutant("P6", "c3align/_pipeline_files.py", "config[\"parts\"] != _parts(path.parent)", "False", "fingerprints_must_agree"),
    Mutant("P6", "c3align/_exact.py", "if not is_old and not digests.is_signed(whole):", "if False:", "all_flips_of_statistics"),
    Mutant("P6", "c3align/training/rows.py", "digest_of(self.rows.values) + digest_of(noisy)", "digest_of(noisy)", "every_row_counts"),
    Mutant("P6", "c3align/training/checkpoints.py", "if not _is_progress(", "if False and not _is_progress(", "signed_one"),
    Mutant("P5", "c3align/training/loop.py", "if not math.isfinite(loss):", "if False:", "loss_that_is_lost"),
    Mutant("P7", "c3align/io/atomic.py", "if handle is not None and _lock(handle, wait=False):", "if True:", "the_dead_alone"),
    Mutant("P7", "c3align/io/atomic.py", "\"[0-9a-f]\" * 8", "\"*\"", "the_dead_alone"),
    # files of strangers: pictures, media, tables, rows
    Mutant("P6", "c3align/io/media.py", "Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])", "Image.open(file)", "attacks and picture"),
    Mutant("P6", "c3align/io/media.py", "    PIXELS.check(n_pixels, \"pixels\"", "    PIXELS.check(0, \"pixels\"", "attacks and picture"),
    Mutant("P6", "c3align/io/media.py", "tags.get(_TILE[0], 1) * tags.get(_TILE[1], 1)", "1", "attacks and tiles"),
    Mutant("P6", "c3align/io/media.py", "    if n_passes > _MOST_PASSES:", "    if False:", "attacks and passes"),
    Mutant("P6", "c3align/io/media.py", "\"format_whitelist\": CONTAINERS, ", "", "attacks and (video or sound)"),
    Mutant("P6", "c3align/io/media.py", "if codec not in CODECS.split(\",\"):", "if False:", "attacks and codec"),
    Mutant("P6", "c3align/io/media.py", "    if max(own_rate, rate) // common > _LARGEST_RATIO:", "    if False:", "attacks and sound or beyond"),
    Mutant("P6", "c3align/io/media.py", "max(n_samples, n_samples * rate // own_rate)", "n_samples", "attacks and lowest"),
    Mutant("P6", "c3align/io/media.py", "        FRAMES.check(n_pixels * len(wanted)", "        FRAMES.check(n_pixels", "attacks and 8k or test_frames"),
    Mutant("P6", "c3align/io/media.py", "        DECODED.check(n_pixels * (last + 1)", "        DECODED.check(n_pixels", "attacks and twenty_thousand"),
    Mutant("P6", "c3align/io/media.py", "    check_lists(file, size_of(file))\n", "    size_of(file)\n", "attacks and video"),
    Mutant("P6", "c3align/io/claims.py", "n_samples * n_edits > ", "n_samples > ", "attacks and five_thousand"),
    Mutant("P6", "c3align/io/claims.py", "b\"trun\": first", "b\"trun\": 0", "attacks and fragment"),
    Mutant("P6", "c3align/io/limits.py", "isinstance(error, OSError) and str(error).isprintable()", "isinstance(error, OSError)", "attacks and footer_of_another"),
    Mutant("P6", "c3align/io/opening.py", "    if left < 0:", "    if False:", "is_bounded"),
    Mutant("P6", "c3align/io/opening.py", "raise MissingExtraError(f\"{url} cannot", "raise C3AlignError(f\"{url} cannot", "missing_library"),
    Mutant("P6", "c3align/io/items.py", " or os.path.islink(real):", ":", "attacks and table"),
    Mutant("P6", "c3align/io/items.py", "_real(folder), name)", "folder, name)", "attacks and linked_folder"),
    Mutant("P6", "c3align/io/items.py", " or \"::\" in value", "", "attacks and chains_behind"),
    Mutant("P6", "c3align/io/items.py", "        if not self.allow_urls:", "        if False:", "attacks and names_a_server"),
    Mutant("P6", "c3align/io/items.py", "unquote(path.removeprefix(self.folder + \"/\"))", "path.removeprefix(self.folder + \"/\")", "behind_a_url"),
    Mutant("P6", "c3align/io/tables.py", "    _ROWS.check(metadata.num_rows,", "    _ROWS.check(0,", "attacks and equal_rows"),
    Mutant("P6", "c3align/io/pages.py", "header.get(part, {}).get(place) == _PREFIXES", "False", "attacks and what_stood_before"),
    Mutant("P6", "c3align/io/npy.py", "    if size != offset + found.n_bytes:", "    if False:", "attacks and rows"),
    Mutant("P6", "c3align/io/npy.py", "if not _HEADER.fullmatch(text):", "if False:", "attacks and rows"),
    Mutant("found", "c3align/io/patterns.py", "    found = [pattern[:-2]]\n", "    found = []\n", "as_glob_would"),
    Mutant("found", "c3align/io/patterns.py", ' if not name.startswith(".")]\n        found', "]\n        found", "as_glob_would"),
    Mutant("found", "c3align/io/patterns.py", ", followlinks=True", "", "as_glob_would"),
    Mutant("P6", "c3align/io/npy.py", "if opening.identity(file) != self.seen:", "if False:", "exchanged_while"),
    Mutant("P6", "c3align/io/npy.py", "left[n_bytes:]", "left[:0]", "short_read"),
    Mutant("P6", "c3align/encoders/precomputed.py", "if not np.isfinite(rows).all():", "if False:", "attacks and holds_no_number"),
    Mutant("P6", "c3align/errors.py", "if len(text) <= _LONGEST", "if True", "messages_are_short"),
    Mutant("P6", "c3align/_arguments.py", "    if not check(value):", "    if False:", "what_fails_says_so"),
    Mutant("P6", "c3align/_kinds.py", "if said.startswith(_TIMES):", "if False:", "holds_no_embeddings"),
    Mutant("P6", "c3align/_matrices.py", "if np.abs(found - found.T).max() >", "if False and 0 >", "mistakes"),
    Mutant("P6", "c3align/_raw.py", "max(FEW_WAY, WIDENED * most)", "max(3.0, WIDENED * most)", "RawRows"),
    Mutant("P6", "c3align/errors.py", "        text = one_line(super().__str__())", "        text = super().__str__()", "what_is_shown"),
    Mutant("P6", "c3align/cli/_app.py", "if to.isatty() else text", "if False else text", "where_no_terminal"),
    # MixBench
    Mutant("mixbench", "benchmarks/_mixbench.py", "calibration.fuse(parts, query=\"text\")", "_mean(parts)", "test_mixbench and float64"),
    Mutant("mixbench", "benchmarks/_mixbench.py", "- (kinds == kind).mean()", "- 0.3", "test_mixbench and float64"),
    Mutant("mixbench", "benchmarks/_mixbench.py", " or not path.resolve().is_relative_to(folder.resolve())", "", "test_mixbench and refused"),
    # what commands say
    Mutant("told", "c3align/search/index.py", "only not in self._scale:", "False:", "test_index_and_search"),
    Mutant("told", "c3align/cli/_app.py", "if not state.usable.keys() <= state.samples.keys():", "if False:", "test_search_command and refusals"),
    Mutant("told", "c3align/io/hub.py", "if os.path.islink(atomic.expanded(name)):", "if False:", "link_to_what_is_gone"),
    Mutant("told", "c3align/io/joins.py", "    _check_names(trees)\n", "", "each_lacks_a_file"),
    Mutant("told", "c3align/decoders/prefix/model.py", "mask.new_ones(prefix.shape[:2])", "mask.new_zeros(prefix.shape[:2])", "one_of_the_soft_tokens"),
    Mutant("told", "c3align/cli/__init__.py", "    PAIRED: ", '    PAIRED + "!": ', "warning_advises_a_command"),
    Mutant("told", "c3align/cli/_app.py", "before is not None and before.to_bytes() != aligner.to_bytes()", "False", "another_aligner_is_named"),
    Mutant("told", "c3align/cli/_app.py", " and before.to_bytes() != aligner.to_bytes()", "", "nothing_is_said_of_the_same"),
    Mutant("P6", "c3align/io/vectors.py", "if _whole(n, len(content)) != len(values):", "if False:", "storage_of_another_length"),
    Mutant("P6", "c3align/published.py", "found.shape[-1:] != (found.size,)", "found.size != found.shape[-1]", "odd_files"),
    Mutant("P7", "c3align/embed.py", ".astype(rows.dtype, copy=False)", "", "damaged_of_another_list"),
    Mutant("P7", "c3align/io/earlier.py", "with suppress(C3AlignError):  # what is damaged is embedded again", "with suppress():", "damaged_of_another_list"),
    Mutant("P5", "c3align/embed.py", "counts.n_repaired += len(part)", "pass", "damaged_shard_is_embedded_again"),
    Mutant("told", "c3align/cli/_transform.py", "if n_written or journal.n_gone:", "if n_written:", "test_trees and does_not_mix"),
    Mutant("P5", "c3align/io/mirror.py", "(self.rules.skip or not self.journal.done[name][\"dropped\"])", "True", "test_trees and strict_run"),
    Mutant("P5", "c3align/embed.py", "self.changed or is_strict or was_finished", "self.changed or was_finished", "test_embed and cut_off"),
    Mutant("P5", "c3align/cli/_fit.py", "    _check_place(output, rows, found)\n", "", "among_the_rows"),
    Mutant("serve", "c3align/search/serve.py", "return self._drawn(*file) if file else None", "return self._drawn(*(file or (str(self._root), -1)))", "pictures_are_items"),
    Mutant("serve", "c3align/search/serve.py", ".strip().lower()\n", "\n", "test_serve and methods_and_kinds"),
    # mappings through every door
    Mutant("mapping", "c3align/mappings/rows.py", "found = centred @ matrix", "found = centred @ matrix.T", "test_mapped and it_is_the_formula"),
    Mutant("mapping", "c3align/mappings/rows.py", "return _without(found, _is_lost(found, row_map.gain))", "return found", "test_mapped and at_the_mean"),
    Mutant("mapping", "c3align/mappings/rows.py", "return _without(found + shift, ~centred.any(1))", "return found + shift", "test_mapped and with_a_shift"),
    Mutant("mapping", "c3align/mappings/rows.py", "_without(found, ~unit.any(1) | _is_lost(found, _MORE_ROUNDING))", "found", "test_mapped and (without_a_direction or at_the_mean)"),
    Mutant("mapping", "c3align/mappings/rows.py", "raise _in_whole(rows, row_map, zero_rows, error) from error", "raise", "test_mapped and many_blocks"),
    Mutant("mapping", "c3align/mappings/rows.py", "return _narrowed(moved * norm, X)", "return _narrowed(moved, X)", "test_mapped and there_and_back"),
    Mutant("mapping", "c3align/_ingest.py", "refuse_own_mean(mapping)", "pass", "test_mapped and rows_own"),
    Mutant("mapping", "c3align/_strength.py", "- across - across.T", "- 2 * across", "test_mapped and residuals_follow"),
    Mutant("mapping", "c3align/_strength.py", "row_map.linear**2 @ statistics.variance + center @ center", "row_map.linear**2 @ statistics.variance", "test_mapped and cosine_is_of"),
    Mutant("mapping", "c3align/_learn.py", 'partners=known.get("partners")', "partners=None", "test_mapped and pairs_are_related"),
    Mutant("mapping", "c3align/sample.py", "links = _linked(kept, np.concatenate([self.links, other.links]))", "links = self.links", "test_mapped and any_split"),
    Mutant("mapping", "c3align/sample.py", "np.concatenate([self.counts, other.counts])", "np.concatenate([self.counts, 0 * other.counts])", "test_mapped and any_split"),
    Mutant("mapping", "c3align/_state.py", "across if a < b else across.transposed()", "across", "test_mapped and order_of"),
    Mutant("P6", "c3align/mappings/__init__.py", "if not isinstance(name, str) or name not in _BUILT_IN:", "if not isinstance(name, str):", "test_mapped and no_file_names"),
    Mutant("P6", "c3align/mappings/__init__.py", "or not all(_is_alike(value, usual[key]) for key, value in given.items()):", "or False:", "test_mapped and no_file_names"),
    Mutant("P6", "c3align/_state_tensors.py", "if found.n_rows != statistics.n_rows:", "if False:", "test_mapped and sketch_of_other_rows"),
    Mutant("noise", "c3align/_strength.py", "found * math.sqrt(3)", "found", "test_noise and squared_norm"),
    Mutant("noise", "c3align/_strength.py", 'how["sigma"] *= math.sqrt(state.n_dims / max(1, state.n_dims - 1))', "pass", "test_noise and squared_norm"),
    Mutant("noise", "c3align/_strength.py", "return row_map.turned(gap)", "return gap", "test_noise and orthogonal_to"),
    Mutant("noise", "c3align/_strength.py", 'name if shape.covariance == "own" else "", found', '"", found', "test_noise and its_own"),
    Mutant("noise", "c3align/noise.py", "values = (values / values[-1]) ** self.power", "values = values / values[-1]", "test_noise and half_power"),
    Mutant("noise", "c3align/noise.py", "values[: -self.rank] = values[: -self.rank].mean()", "values[: -self.rank] = 0", "test_noise and low_rank"),
    Mutant("noise", "c3align/noise.py", "NoiseRequest(0.0, None, False, True, seed, row_offset, row_ids)", "NoiseRequest(0.0, None, False, True, seed, row_offset)", "levels_are_those"),
    Mutant("noise", "c3align/noise.py", "return math.sqrt(2 * float((away**2).sum())", "return math.sqrt(float((away**2).sum())", "test_noise and residual_of_two"),
    # advice
    Mutant("noise", "c3align/_strength.py", "if settings[\"sigma\"] is None and name in state.usable:", "if False:", "wider_side_drowns"),
    Mutant("pairs", "c3align/geometry/_order.py", "if not _is_opposite(differences, found, size / 2):", "if False:", "two_kinds_of_pairs"),
    Mutant("centering", "c3align/centering.py", "if count - alike > 1", "if count > 1", "far_out_on_either_side"),
    Mutant("search", "c3align/search/faiss.py", "if _identity(self._path) not in (None, self._seen):", "if False:", "faiss_file_of_two_writers"),
    Mutant("search", "c3align/cli/_migrate.py", "if drop and any(", "if False and any(", "test_bridge and across_encoders"),
    Mutant("choose", "c3align/choosing.py", "if seeds < FEW_SPLITS:", "if False:", "few_splits_show_little"),
    Mutant("choose", "c3align/choosing.py", "if sign * mean > BEYOND * spread + _ROUNDING", "if sign * mean > _ROUNDING", "test_choosing and center_wins"),
    Mutant("choose", "c3align/choosing.py", "(_judging.likeness, -1)", "(_judging.likeness, 1)", "test_choosing and one_index"),
    Mutant("choose", "c3align/choosing.py", "winner = _best(noisy, winner, sign)", "winner = _best(noisy, center, sign)", "test_choosing and noise_wins"),
    Mutant("choose", "c3align/_halves.py", "(rng.permutation(len(found)) < len(found) // 2)[which]", "rng.permutation(len(groups)) < len(groups) // 2", "test_choosing and was_learned"),
    Mutant("choose", "c3align/_halves.py", "x = y if self.paired else half", "x = half", "test_choosing and was_learned"),
    Mutant("choose", "c3align/_halves.py", "tested = x, ~y", "tested = x, y", "test_choosing and other_rows"),
    Mutant("choose", "c3align/_judging.py", "scores, k = scores - TIE * relevant", "scores, k = scores + TIE * relevant", "test_choosing and collapsed"),
    Mutant("choose", "c3align/_judging.py", "**{**_USUAL, **wanted[name]}", "**wanted[name]", "test_choosing and scored_alone"),
    Mutant("mapping", "c3align/mappings/rows.py", "    _check_place(row_offset, row_ids, X.shape[0])\n", "", "test_mapped and numbers_of_other_rows"),
    Mutant("mapping", "c3align/_state.py", "found.drawn()", "found.rows", "test_mapped and rows_that_repeat"),
    Mutant("calib", "c3align/_unrelated.py", "if np.ptp(places) <= MOST_UNEVEN:", "if True:", "test_calibration and means_differ"),
    Mutant("calib", "c3align/_unrelated.py", "if n_rows >= FEW_ROWS:", "if True:", "test_calibration and few_rows"),
    Mutant("noise", "c3align/_strength.py", "if abs(own - asked) > TOLERATED:", "if False:", "test_noise and other_widths"),
    # what is wrong with rows on a device, by one flag, told at once or later
    Mutant("P3", "csrc/cuda/transform.cu", "norm < kMinNorm ? kSawSmall : kSawUnusable", "kSawSmall", "test_cuda_emulated and (widths or deferred)"),
    Mutant("P5", "csrc/cuda/transform.cu", "atomicOr(flag, flag_of(verdict, norm));", ";", "test_cuda_emulated and (widths or stays_as_it_was)"),
    Mutant("P5", "c3align/ops/deferred.py", "_KEPT = ~(SMALL | AT_MEAN_FLAG)", "_KEPT = 0", "unusable_rows_are_told"),
    Mutant("P5", "c3align/ops/_device.py", "later |= _more_bits(row_map)", "pass", "beside_the_rows"),
    Mutant("P5", "c3align/ops/_device.py", "int(totals[-1]) < len(status)", "False", "test_cuda_emulated and later_blocks_are_named"),
    Mutant("P3", "c3align/ops/known_answers.py", " and int(flag) == int(_device.kinds_of(X, wanted))", "", "known_answers_find and flag"),
    # exports
    Mutant("search", "c3align/export.py", '"bias": torch.from_numpy(offset)', '"bias": 0 * torch.from_numpy(offset)', "test_export and torch_linear"),
    Mutant("search", "c3align/export.py", '"weight": torch.from_numpy(linear.T.copy())', '"weight": torch.from_numpy(linear)', "test_export and torch_linear"),
    # bridges and migrations
    Mutant("search", "c3align/bridge.py", "best = int(np.argmax(recalls))", "best = 0", "test_bridge and better_one"),
    Mutant("search", "c3align/bridge.py", "        a, b = a[once], b[once]", "        pass", "test_bridge and equal_items"),
    Mutant("search", "c3align/bridge.py", "if kind not in KINDS or", "if False and", "test_bridge and odd_files"),
    Mutant("search", "c3align/search/migrate.py", "weights = np.array(hashes, np.float64) / 2**64", "weights = np.ones(len(hashes))", "test_bridge and difference"),
    # drift
    Mutant("drift", "c3align/drift.py", "drawn if groups is None else _one_of_each(groups, drawn)", "drawn", "test_drift and one_row_of_each"),
    Mutant("drift", "c3align/drift.py", "fitted[_one_of_each(about, rng.permutation(len(fitted)))]", "fitted", "test_drift and one_row_of_each"),
    Mutant("drift", "c3align/drift.py", "if n_groups < LEAST_DIFFERENT * len(about):", "if False:", "test_drift and not_named"),
    Mutant("drift", "c3align/drift.py", "MOST_ALIKE = 6.0", "MOST_ALIKE = 1.0", "test_drift and any_order"),
    Mutant("drift", "c3align/drift.py", "MOST_ALIKE = 6.0", "MOST_ALIKE = 600.0", "test_drift and not_named"),
    Mutant("drift", "c3align/drift.py", "(further >= further[0]).mean()", "(further > 2 * further[0]).mean()", "test_drift and false_alarms"),
    Mutant("drift", "c3align/drift.py", "squares = gram**2", "squares = gram", "test_drift and covariance_that_changed"),
    Mutant("P7", "c3align/cli/_migrate.py", "            index.store.save()", "            pass", "test_bridge and the_command"),
    Mutant("drift", "c3align/cli/_check.py", "raise typer.Exit(FAILED)", "pass", "test_drift and verdict"),
    Mutant("drift", "c3align/cli/_check.py", "if len(sources) > 1 and (modality, groups) != (None, None):", "if False:", "test_drift and a_tree_says"),
    Mutant("P11", "c3align/cli/_check.py", "one_fingerprint([source], encoder)", "encoder or source.fingerprint", "test_drift and a_tree_says"),
    Mutant("drift", "c3align/cli/_check.py", "is_out |= ~sample.any(axis=1)", "pass", "test_drift and keeps_them"),
    # search: rows that agree, and an index that is never another's
    Mutant("search", "c3align/search/index.py", "rows * np.float32(self._scale[modality])", "rows * np.float32(1)", "test_search and results_are_those_of_arrays"),
    Mutant("search", "c3align/search/index.py", "self._is_one_list = not told", "self._is_one_list = True", "test_search and uneven"),
    Mutant("P7", "c3align/io/progress.py", "if place.is_absolute() or \"..\" in place.parts or not", "if not", "OthersFiles"),
    Mutant("P10", "c3align/io/mirror.py", "if any(os.path.realpath(folder / name) in read for name in names):", "if False:", "OthersFiles"),
    Mutant("P11", "c3align/cli/_index.py", "        if both[0] != both[1]:", "        if False:", "index_and_search"),
    Mutant("search", "c3align/search/card.py", "if found.get(name) != mine[name]:", "if False:", "test_search and another_encoder"),
    Mutant("search", "c3align/search/card.py", "digest.update(np.ascontiguousarray(values).tobytes())", "pass", "test_search and another_encoder"),
    Mutant("search", "c3align/search/index.py", "        with alone(store):", "        if True:", "test_search and two_makers"),
    Mutant("search", "c3align/search/store.py", "    if depth > _DEEPEST:", "    if False:", "test_search and ids_metadata"),
    Mutant("search", "c3align/search/places.py", "if isinstance(name, bool) or not isinstance(name, str | int | UUID):", "if False:", "test_bridge and lack_something"),
    Mutant("search", "c3align/search/places.py", '    if id_column != "id":\n', "    if False:\n", "test_bridge and qdrant_named"),
    Mutant("search", "c3align/search/places.py", "        vector = vector.get(name)\n", "        vector = [*vector.values()][0]\n", "test_bridge and qdrant_named"),
    Mutant("P5", "c3align/search/places.py", "    if server is None:\n", "    if True:\n", "test_bridge and not_there"),
    Mutant("P6", "c3align/io/opening.py", "with item_errors(url), _known_protocol(url):", "with item_errors(url):", "test_limits and package_is_absent"),
    Mutant("found", "c3align/io/writing.py", 'if packed == "UNCOMPRESSED" else', "if False else", "test_trees and not_compressed"),
    Mutant("found", "c3align/cli/_transform.py", "        if is_url(first):", "        if False:", "test_formats and folder_of_one"),
    Mutant("found", "c3align/io/shards.py", "for name, path in lists.items() if path.exists()), \"embed\")", "for name, path in lists.items() if False), \"embed\")", "test_trees and one_again"),
    Mutant("search", "c3align/cli/_migrate.py", "    query: Query = None,", '    query: Query = "text",', "test_bridge and its_queries"),
    Mutant("search", "c3align/cli/_index.py", "column if _has_columns(path) or not any(map(_has_columns, data)) else None", "column", "column_is_that_of_tables"),
    Mutant("search", "c3align/search/lance.py", "            store.refuse_known(self, batch.ids)", "            pass", "test_search and refused_changes_nothing"),
    # the page that serves this machine alone
    Mutant("serve", "c3align/search/serve.py", "is_answered = host in self._hosts and", "is_answered = bool(self._hosts) and", "test_serve and strangers"),
    Mutant("serve", "c3align/search/serve.py", 'site in ("same-origin", "none")', "bool(site)", "test_serve and strangers"),
    Mutant("serve", "c3align/search/serve.py", "                if len(found) > most:", "                if False:", "test_serve and hundred_megabytes"),
    Mutant("serve", "c3align/search/serve.py", "media.image(content, MOST_PIXELS)", "media.image(content, 1 << 40)", "test_serve and bombs"),
    Mutant("serve", "c3align/search/serve.py", 'if not kind.startswith("image/"):', "if False:", "test_serve and methods_and_kinds"),
    Mutant("serve", "c3align/search/serve.py", ' if "://" not in name and os.path.isfile(path) else None', "", "test_serve and lie_here"),
    Mutant("serve", "c3align/search/serve.py", "/ np.sqrt(np.maximum(squares, 1e-12))", "", "test_serve and rows_that_the_encoder_gave"),
    # what outsiders found first
    Mutant("found", "c3align/encoders/glyphs.py", "    if n_bright:", "    if False:", "test_glyphs and arrays_black_on_white"),
    Mutant("found", "c3align/report/_charts.py", "of the {len(x)} that vary", "of the {samples.n_dims} that vary", "test_report and what_the_pictures_say"),
    Mutant("found", "c3align/report/_advice.py", "    if still is None:", "    if False:", "it_follows_the_figures"),
    Mutant("found", "c3align/encoders/glyphs.py", "if np.median(picture) > PAPER:", "if False:", "test_glyphs"),
    Mutant("found", "c3align/cli/_means.py", "    return \"batch\"\n", "    return asked\n", "modality_that_is_not_fitted"),
    Mutant("found", "c3align/cli/_means.py", "noise_of(self.fitted.state_, settings, modality)", "noise_of(self.learned.state_, settings, modality)", "test_cli and beside_the_own_mean"),
    Mutant("found", "c3align/cli/_fit.py", "    check_settings(aligner.get_params())", "    pass", "test_cli and fault_of_a_row"),
    Mutant("found", "c3align/cli/__init__.py", 'tell("error", _as_command(error, given))', 'tell("error", one_line(error))', "test_cli and advice_names"),
    Mutant("found", "c3align/io/patterns.py", "int(part) if i % 2 else part for i", "part for i", "shards_in_the_order"),
    Mutant("found", "c3align/io/tables.py", 'encoding="utf-8-sig", newline=""', 'encoding="utf-8", newline=""', "mark_of_the_byte_order"),
    Mutant("found", "benchmarks/paper/scores/_pictures.py", "np.array(media.image(picture))", "np.array(__import__('PIL.Image').Image.open(picture).convert('RGB'))", "read_as_they_are_embedded"),
    Mutant("found", "c3align/io/media.py", " or channels.shape[1] < len(channels):", ":", "other_sounds_are_refused"),
    Mutant("found", "c3align/io/items.py", '] += 1\n    told', '] += 0\n    told', "folder_holds_besides"),
    Mutant("found", "c3align/encoders/transformers.py", 'f"{self.name}/{fingerprints.weights_digest(model)}', 'f"{model.name_or_path}/{fingerprints.weights_digest(model)}', "folders_name_changes_nothing"),
    Mutant("found", "c3align/encoders/families.py", 'if (folder / "modules.json").is_file():', "if False:", "another_backend_is_named"),
    Mutant("found", "c3align/_ingest.py", 'if dtype_name(values) == "float16" and', "if False and", "norm_beyond_float16"),
    Mutant("found", "c3align/io/atomic.py", 'if re.match(r"[A-Za-z]', 'if False and re.match(r"[A-Za-z]', "urls_and_homes"),
    Mutant("found", "c3align/io/atomic.py", "name.startswith(_STREAMS) or not (", "False and not (", "devices_and_pipes"),
    Mutant("found", "c3align/io/atomic.py", "os.path.realpath(expanded(path))", "os.path.abspath(expanded(path))", "links_modes_and"),
    Mutant("found", "c3align/cli/__init__.py", "        signal.signal(number, stop)\n", "        pass\n", "signals_leave_no_scratch"),
    Mutant("found", "c3align/embed.py", '    check_whole("shard_items", shard_items)\n', "", "test_io and not_finished"),
    Mutant("found", "benchmarks/paper/scores/_read.py", 'isinstance(record.get("error"), str)', "False", "caption_skipped"),
    Mutant("found", "c3align/io/items.py", '"utf-8", "backslashreplace"', '"utf-8", "surrogateescape"', "name_that_is_no_text"),
    Mutant("found", "c3align/decoders/prefix/tokens.py", "        if loss > guessed:", "        if False:", "random_weights_is_told"),
    Mutant("found", "c3align/decoders/memory.py", "        check_aligned(self, checked)\n", "", "refuses_what_generate_refuses"),
    Mutant("found", "benchmarks/paper/score.py", "    if metrics is None:\n", "    if False:\n", "all_metrics_take_long"),
    Mutant("found", "c3align/cli/_decode.py", 'if encoder.startswith("precomputed:"):', "if False:", "test_cli_decode and errors_are_one_line"),
    Mutant("found", "c3align/io/rows.py", "got {held}; {told}", "got {list(header)}", "model_among_embeddings"),
    Mutant("found", "c3align/decoders/prefix/model.py", "        rows = rows.to(next(self.mapper.parameters()).dtype)\n", "", "another_type_are_cast"),
    Mutant("found", "c3align/training/checkpoints.py", '    if "seed" in changed:', "    if False:", "another_run_is_refused"),
    Mutant("found", "c3align/training/checkpoints.py", '    if changed == ["epochs"]:', "    if False:", "another_run_is_refused"),
    Mutant("found", "c3align/decoders/captions.py", "        _check_width(rows, captioner.n_dims)\n", "        pass\n", "BadRows and named"),
    Mutant("found", "c3align/decoders/prefix/model.py", "found[prefix + name].clone()", "found[prefix + name]", "keeps_it_and_goes_on"),
    Mutant("found", "c3align/decoders/prefix/checks.py", 'if getattr(lm, "peft_config", None):', "if False:", "has_adapters_already"),
    Mutant("found", "c3align/__init__.py", "    if name in _ROOMS:\n", "    if False:\n", "public_module_is_an_attribute"),
    Mutant("found", "c3align/io/patterns.py", "glob.has_magic(name) and not os.path.exists(name)", "glob.has_magic(name)", "brackets_in_the_name"),
    Mutant("found", "c3align/_ingest.py", "isinstance(y, str | bytes) or len(shape) == 0", "False", "cannot_be_either"),
    Mutant("found", "c3align/cli/__init__.py", 'given or ["--help"]', "given", "test_io and test_help"),
    Mutant("found", "c3align/cli/__init__.py", "{_KEPT}\", file=sys.stderr)\n            return INTERRUPTED", "{_KEPT}\", file=sys.stderr)\n            return 0", "test_cli and test_interrupt"),
    Mutant("found", "c3align/io/rows.py", "row {row - self.ends[i]}", "row {row}", "bad_shard_is_named"),
    Mutant("found", "c3align/cli/_check.py", "about[places[~is_out]]", "about[places][: (~is_out).sum()]", "test_drift and takes_them_from_a_file"),
    Mutant("found", "c3align/cli/_check.py", ", groups=about)", ")", "test_drift and takes_them_from_a_file"),
    Mutant("door", "c3align/aligner.py", "y_modality=y_modality).transform(X, modality=modality)", "y_modality=y_modality).transform(X)", "test_contract and knows_whose_rows"),
    Mutant("found", "c3align/io/columns.py", "min(filter(None, (chunk.data_page_offset, chunk.dictionary_page_offset)), default=0)", "min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)", "groups_without_rows"),
    Mutant("found", "c3align/io/rows.py", "part.of_width(width) if", "part if", "groups_without_rows"),
    Mutant("found", "c3align/cli/_check.py", "for name in wanted or [fail_on]:", "for name in wanted:", "test_drift and wrong_input"),
    Mutant("found", "c3align/cli/_fit.py", "else os.path.realpath(path) for", "else os.path.abspath(path) for", "named_twice"),
    Mutant("found", "c3align/io/mirror.py", "        if n_lines != n_rows:", "        if False:", "table_of_other_rows"),
    Mutant("found", "c3align/io/rows.py", "map(of_frame, given)", "given", "frames_are_rows"),
    Mutant("found", "c3align/_learn.py", 'and "text" not in before.statistics:', "and False:", "rows_of_no_name"),
    Mutant("found", "c3align/_unrelated.py", "warn_of_raw(unit, name, raw, stacklevel=4)", "pass", "raw_rows_are_told"),
    Mutant("found", "c3align/cli/_merge.py", "    if atomic.local_path(output) in map(", "    if None in map(", "another_aligner_is_named"),
    # pages
    Mutant("pages", "tests/site.py", "formulas.in_page(", "str(", "test_site and a_page"),
    Mutant("pages", "tests/formulas.py", "if not (before and self.spaced):", "if False:", "code_stays_code"),
    Mutant("pages", "tests/formulas.py", 'above, below = _fraction(above, below) + sign + self.factor(), ""', "below = below + sign + self.factor()", "read_from_the_left"),
    Mutant("pages", "tests/theme/custom.css", "white-space: break-spaces;", "", "code_fits_a_window"),
    Mutant("pages", "pyproject.toml", "  # psycopg: LGPL", "", "permissive_or_named"),
]  # fmt: skip


class _Collected:
    """A plugin of pytest that keeps the tests it collects."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.items = items


def warm() -> None:
    """Import what most tests import, once: each child that is forked from here has it in its memory."""
    found = import_module("tests.tiny_encoders")
    found.import_torchvision()
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            import_module(name)
    _KEPT.append(found)  # torchvision's operators go with it


class Child:
    """A fork of this process, what it tells kept in a file."""

    def __init__(self, work: Callable[[], int]) -> None:
        self.told = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - text() closes it; a mutant may print any bytes
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.dup2(self.told.fileno(), 1)
                os.dup2(self.told.fileno(), 2)
                code = work()
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def text(self) -> str:
        with self.told:
            self.told.seek(0)
            return self.told.read()


def files_of(mutants: list[Mutant]) -> dict[str, list[str]]:
    """The test files in which each mutant's tests are, so that pytest need not collect all for every mutant."""
    wanted = {mutant.tests for mutant in mutants}
    child = Child(lambda: _tell_files(wanted))
    status = os.waitpid(child.pid, 0)[1]
    told = child.text()
    if status != 0:
        raise RuntimeError(f"the tests could not be collected: {told[-1000:]}")
    return json.loads(told.splitlines()[-1])


def _tell_files(wanted: set[str]) -> int:
    collected = _Collected()
    pytest.main(["--collect-only", "-qq", str(ROOT / "tests")], plugins=[collected])
    words = [(KeywordMatcher.from_item(item), str(item.path.relative_to(ROOT))) for item in collected.items]
    found = {}
    for each in wanted:
        expression = Expression.compile(each)
        found[each] = sorted({path for keywords, path in words if expression.evaluate(keywords)})
    print("\n" + json.dumps(found))
    return 0


class Trial:
    """A mutant in a copy of the checkout, tested by a child."""

    def __init__(self, mutant: Mutant, files: list[str]) -> None:
        self.mutant = mutant
        self.folder = tempfile.TemporaryDirectory()
        self.child = Child(lambda: _test(mutant, files, Path(self.folder.name)))

    def reason(self, status: int) -> str | None:
        """None when the mutant was noticed, else why not."""
        with self.folder:
            told = self.child.text()
        code = os.waitstatus_to_exitcode(status)
        noticed = code == 1 or code < 0  # a failed test, or a crash
        return None if noticed else f"ended with {code}: {told[-300:]}"


def _test(mutant: Mutant, files: list[str], folder: Path) -> int:
    """pytest's exit code; 71 when nothing could be tested."""
    if not files:
        print(f"no test is called {mutant.tests!r}")
        return 71
    for part in COPIED:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    path = folder / mutant.file
    text = path.read_text()
    if mutant.old not in text:
        print("the line to change is no longer there")
        return 71
    path.write_text(text.replace(mutant.old, mutant.new, 1))
    if mutant.file.startswith(("csrc/c", "csrc/b", "setup")) and "cuda" not in mutant.file:
        shutil.rmtree(folder / "build", ignore_errors=True)
        build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"]
        environment = {**os.environ, "C3ALIGN_NATIVE": "on", "C3ALIGN_CUDA": "off"}
        subprocess.run(build, cwd=folder, env=environment, check=True)
    return _pytest(folder, [*files, "-k", mutant.tests])


def _pytest(folder: Path, chosen: list[str]) -> int:
    """The exit code of the tests of that folder, which its own processes import too."""
    os.environ |= {"PYTHONPATH": str(folder), "C3ALIGN_DATA": str(data_folder())}
    os.chdir(folder)
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in ("", str(ROOT), str(ROOT / "tests")))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "c3align")]:
        del sys.modules[name]
    return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *chosen]))


def data_folder() -> Path:
    return Path(os.environ.get("C3ALIGN_DATA", ROOT.parent / "shared" / "data")).resolve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose promise or file contains this")
    parser.add_argument("--jobs", type=int, default=2, help="at a time")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if options.only in m.promise or options.only in m.file]
    warm()
    files = files_of(chosen)
    survivors, waiting, running = 0, chosen[::-1], {}
    while waiting or running:
        while waiting and len(running) < options.jobs:
            trial = Trial(waiting[-1], files[waiting.pop().tests])
            running[trial.child.pid] = trial
        pid, status = os.wait()
        trial = running.pop(pid)
        reason, mutant = trial.reason(status), trial.mutant
        survivors += reason is not None
        verdict = "noticed" if reason is None else f"SURVIVED ({reason})"
        print(f"{mutant.promise:5} {mutant.file:28} {mutant.new[:50]!r}: {verdict}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants noticed")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
