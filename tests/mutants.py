"""Mutants: one deliberate fault each, which a named test must notice. Run by `make mutate`.

Every promise has a test that can fail, and here is the proof: the checkout is copied, one line is changed, csrc/ is
compiled again when it is concerned, and the named tests must fail.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COPIED = ["c3align", "csrc", "tests", "benchmarks", "setup.py", "pyproject.toml", "README.md", "CONTRIBUTING.md"]
COPIED += ["MANIFEST.in", "CHANGELOG.md", "LICENSE"]


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
    Mutant("P4", "csrc/core/normal.h", "(nearest + 2 * kEighth) & kSign", "(nearest + kEighth) & kSign", "p4 or golden"),
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
    Mutant("pairs", "c3align/ops/_moments.py", "PAIRS_PER_BLOCK = 1 << 20", "PAIRS_PER_BLOCK = 1 << 22", "stay_in_their_integers"),
    Mutant("pairs", "c3align/ops/_moments.py", "(of_x[3] == OK) & (of_y[3] == OK)", "of_x[3] == OK", "pair_moments"),
    Mutant("pairs", "c3align/ops/_moments.py", "    for rows, _, zero_rows in (x, y):\n        of_rows(rows, zero_rows)", "    for rows, status, zero_rows in (y, x):\n        _checks.status(rows, status, zero_rows, first_row)", "words_are_those"),
    Mutant("pairs", "c3align/ops/eager.py", "well = of_a & of_b", "well = of_a", "pair_moments and on_a_device"),
    Mutant("pairs", "c3align/statistics.py", "zero_rows=zero_rows, y_zero_rows=y_zero_rows)", "zero_rows=zero_rows)", "contract or pair_moments"),
    Mutant("pairs", "c3align/geometry/_overlap.py", "of_pairs.total_variance) / 2", "of_pairs.total_variance)", "by_their_sums"),
    Mutant("pairs", "c3align/_learn.py", "if pairs.n_rows and are_partners", "if True or are_partners", "fit_says_so"),
    Mutant("P1", "csrc/cpu/pool.cpp", ".end = n_rows * (t + 1) / n_threads", ".end = n_rows * (t + 1) / n_threads - (t == 0)", "leave_no_trace"),
    # threads: forks, exits, refusals, control words, numbers
    Mutant("pool", "csrc/cpu/pool.cpp", "[] { g_pool = new (g_memory) Pool; }", "nullptr", "test_pool and threads_of_its_own"),
    Mutant("pool", "csrc/cpu/pool.cpp", "const Freeing freeing{busy_};", "std::lock_guard<std::mutex> lock([]() -> std::mutex& { static std::mutex m; return m; }()); const Freeing freeing{busy_};", "test_pool and forks_from_busy"),
    Mutant("pool", "csrc/cpu/pool.cpp", "} catch (const std::system_error&) {", "} catch (const std::bad_alloc&) {", "test_pool and refuses"),
    Mutant("pool", "csrc/cpu/pool.cpp", "calls_to_pass_ > 0 && --calls_to_pass_ > 0", "calls_to_pass_ > 0", "test_pool and refuses"),
    Mutant("pool", "csrc/cpu/pool.cpp", "wait();\n        const double took", "const double took", "test_pool or leave_no_trace or many_threads"),
    Mutant("pool", "csrc/bindings.cpp", "        } catch (...) {", "        } catch (const std::exception&) {", "test_pool and exit_while"),
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
    Mutant("P4", "csrc/core/normal.h", "twice > 2 * 0.29289323f", "twice > 0.29289323f", "p4 or golden"),
    Mutant("P4", "csrc/core/normal.h", "V::select(halve, V::splat(-kOne), V::splat(0))", "power", "p4 or golden"),
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
    Mutant("P3", "csrc/cuda/load_store.h", "for (int s = 1; s < place.n_segments; ++s)", "for (int s = place.n_segments - 1; s > 0; --s)", "test_cuda_emulated"),
    Mutant("P4", "csrc/core/row_map.h", " + uint64_t(index);", ";", "test_cuda_emulated"),
    Mutant("P1", "csrc/cuda/moments.h", "if (!usable) {  // whatever", "if (false) {  // whatever", "test_cuda_emulated"),
    Mutant("P1", "csrc/cuda/moments.h", "if (usable) atomicAdd", "atomicAdd", "test_cuda_emulated"),
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
    Mutant("P5", "csrc/cuda/transform.cu", "is_at_mean<kSteps>(row, map.at_mean, place, slots)", "false", "test_cuda_emulated and at_the_mean"),
    Mutant("P5", "csrc/cuda/transform.cu", "return sqrt(sum_of_products<kSteps>(row, row, place, slots)) <= limit;", "return true;", "test_cuda_emulated and at_the_mean"),
    Mutant("P4", "c3align/ops/_device.py", "to(X.device, dtype).contiguous()", "to(X.device, dtype)", "test_cuda_emulated and row_ids"),
    Mutant("P5", "c3align/ops/_device.py", "status.any() if negative is None else status.any() | negative", "status.any()", "test_cuda_emulated and row_ids"),
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
    Mutant("P6", "c3align/_exact.py", "if problem := found.problem():\n            raise FormatError", "if False:\n            raise FormatError", "bytes_come_back"),
    Mutant("back", "c3align/ops/rowmap.py", "    if norm > 1 + 1e-6:", "    if False:", "no_way_back"),
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
    Mutant("grad", "c3align/ops/torch.py", 'g = torch.where(_has_direction(wide, mean, "keep"), g, 0)', "pass", "get_no_gradient"),
    Mutant("P4", "csrc/core/row_map.h", "row_ids ? row_ids[index]", "row_ids ? row_ids[0] + uint64_t(index)", "test_row_ids"),
    Mutant("P4", "csrc/cpu/transform.cpp", "row_ids ? row_ids[i] : row_offset", "row_offset", "test_row_ids"),
    Mutant("P4", "c3align/ops/rowmap.py", "row_ids=self.row_ids[rows]", "row_ids=self.row_ids[: rows.stop - rows.start]", "test_row_ids"),
    Mutant("P4", "c3align/ops/reference.py", "words = _row_words(_row_numbers(n_rows, row_offset, row_ids), 1,", "words = _row_words(_row_numbers(n_rows, row_offset, None), 1,", "test_row_ids"),
    Mutant("P4", "c3align/ops/_matrix_noise.py", 'place["row_ids"][start : start + step]', 'place["row_ids"][: len(part)]', "test_row_ids"),
    Mutant("P4", "c3align/ops/torch.py", "seed % 2**64, first, row_ids)", "seed % 2**64, first)", "test_row_ids"),
    Mutant("P5", "c3align/ops/rowmap.py", 'if values.dtype.kind == "i" and (values < 0).any():', "if False:", "test_row_ids"),
    Mutant("P5", "c3align/ops/rowmap.py", "if self.row_ids is not None and (is_tensor", "if False and (is_tensor", "test_row_ids"),
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
    Mutant("mean", "c3align/centering.py", "if count > 1 + MIXED * glance.n_rows:", "if False:", "mixture"),
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
    Mutant("P11", "c3align/_learn.py", "    if not is_one:", "    if False:", "fit_says_so"),
    Mutant("P11", "c3align/geometry/_overlap.py", " or (paired and centered_pair_cosine(a, b) >= PARTNERS)", "", "by_their_sums"),
    Mutant("P11", "c3align/report/_advice.py", "    if not pair.is_one_encoder:", "    if False:", "two_encoders"),
    Mutant("P5", "c3align/_ingest.py", '"keep" if self.is_integer else zero_rows', "zero_rows", "check_estimator or of_integers"),
    Mutant("P5", "c3align/_ingest.py", "if dtype_name_of(X) in _EIGHT_BITS:", "if False:", "packed_bits"),
    Mutant("P5", "c3align/_state.py", "and sorted(names) == sorted(columns):", "and False:", "another_order"),
    Mutant("door", "c3align/_ingest.py", "if not (is_named or _looks_paired(rows, y)):", "if not is_named:", "test_state and pairs"),
    Mutant("door", "c3align/_ingest.py", "return width == rows.shape[1] or width >= EMBEDDING_COLUMNS", "return True", "targets_are_ignored"),
    Mutant("noise", "c3align/_state.py", "if sum(weights) < MIN_PAIRS_FOR_NOISE:", "if not weights:", "one_pair"),
    Mutant("noise", "c3align/aligner.py", "noise.stream_seed(self.seed if seed is None else seed, name)", "self.seed if seed is None else seed", "independent_noise"),
    Mutant("P1", "c3align/_state.py", "lambda: _learning.__setitem__(0, threading.RLock())", "lambda: None", "child_of_a_thread"),
    Mutant("P6", "c3align/statistics.py", "any(found < 1 << 23 for found in bins if found) or ", "", "attack"),
    Mutant("P10", "c3align/ops/_checks.py", "        if step < reach:", "        if step == 0:", "overlap_each_other"),
    Mutant("P1", "c3align/_state.py", "if self.n_dims != other.n_dims:", "if False:", "other_widths"),
    Mutant("P6", "c3align/persistence.py", "        parse(content)\n", "        pass\n", "not_saved"),
    Mutant("device", "c3align/_state.py", "if key not in known:", "if True:", "go_up_once"),
    # noise with the residuals' covariance
    Mutant("P4", "c3align/ops/_matrix_noise.py", "np.rint(values * 2.0**exponent)", "values * 2.0**exponent", "residual_noise"),
    Mutant("P4", "c3align/ops/_matrix_noise.py", "np.rint(z * 2.0**NORMAL_BITS, dtype=np.float64)", "z.astype(np.float64) * 2.0**NORMAL_BITS", "residual_noise"),
    Mutant("P4", "c3align/ops/_matrix_noise.py", "ROOT_BITS = 28  #", "ROOT_BITS = 33  #", "residual_noise"),
    Mutant("P4", "c3align/ops/_matrix_noise.py", 'place["row_offset"] + start', 'place["row_offset"]', "leave_no_trace"),
    Mutant("P5", "c3align/ops/_matrix_noise.py", "noisy[status != OK] = 0", "pass", "stay_zeros"),
    Mutant("P5", "c3align/ops/torch.py", "if compares or request.zero_rows", "if False and request.zero_rows", "stay_zeros"),
    Mutant("noise", "c3align/_state.py", "else root * (sigma / self.pairs_sigma)", "else root", "asked_strength or real_embeddings"),
    Mutant("noise", "c3align/_state.py", "self.residual_root(sigma) if kind == \"residual\" and sigma else sigma", "sigma", "covariance_is_that or real_embeddings"),
    Mutant("noise", "c3align/noise.py", "if known is None or known[0] != others:", "if known is None:", "several_pairs"),
    Mutant("noise", "c3align/noise.py", "axis=0, weights=weights)", "axis=0)", "several_pairs"),
    Mutant("noise", "c3align/covariance.py", "np.sqrt(np.maximum(values, 0))", "np.maximum(values, 0)", "residual_noise"),
    Mutant("noise", "c3align/covariance.py", "- np.outer(mean, mean)", "", "covariance_is_that or wide_arithmetic"),
    Mutant("noise", "c3align/_state.py", "if wanted and known and not found:", "if False:", "changed_after_fit or both_covariances"),
    Mutant("noise", "c3align/nn.py", "strength = self.state_.strength(aligner.sigma, aligner.noise_cosine, aligner.noise)", "strength = aligner.sigma_", "it_is_corrupt"),
    # encoders and embed
    Mutant("enc", "c3align/encoders/transformers.py", 'features["is_longer"][:] = False', "pass", "not_called_longer"),
    Mutant("enc", "c3align/encoders/imagebind.py", " / self._scale(place)", "", "scales"),
    Mutant("enc", "c3align/encoders/base.py", "(wide / np.linalg.norm(wide, axis=1, keepdims=True)).mean", "wide.mean", "unit_norm"),
    Mutant("enc", "c3align/io/media.py", "turned = picture", "turned = False and picture", "orientation"),
    Mutant("enc", "c3align/io/media.py", "samples = _as_floats(samples).mean(axis=0)", "samples = samples[0]", "sound"),
    Mutant("P7", "c3align/io/shards.py", "return self.metadata_path(shard).exists()", "return self.shard_path(shard).exists()", "failure_at_any_write"),
    Mutant("P11", "c3align/cli/_app.py", "if len(known) > 1:", "if False:", "another_encoder"),
    # captioners: search, noise, blocks, checkpoints, files
    Mutant("nn", "c3align/neighbours.py", "best.scores[:, -1] - error", "best.scores[:, -1] + error", "near_ties or sorted_products"),
    Mutant("nn", "c3align/neighbours.py", "np.lexsort((all_indices, -all_scores, every))", "np.lexsort((-all_indices, -all_scores, every))", "sorted_products"),
    Mutant("nn", "c3align/neighbours.py", "usable &= self._groups[proposed] != own[:, None]", "pass", "flat_one"),
    Mutant("cap", "c3align/training/rows.py", "seed=seed_of(self.seed, epoch)", "seed=seed_of(self.seed, 0)", "fresh_every_epoch"),
    Mutant("cap", "c3align/training/rows.py", "row_offset=part.start)", "row_offset=0)", "blocks_of_a_memmap"),
    Mutant("cap", "c3align/training/rows.py", "stray = _beyond_the_middle(rows, own.mean, gap)", "stray = np.empty(0)", "not_even_one"),
    Mutant("cap", "c3align/decoders/prefix/task.py", "own = None if self.groups is None else", "own = None if True else", "without_its_own_caption"),
    Mutant("cap", "c3align/decoders/prefix/task.py", "if learns else np.full_like(targets, IGNORED)", "if True else targets", "learns_nothing"),
    Mutant("cap", "c3align/decoders/prefix/tokens.py", "(piece[:max_tokens], end)]", "(piece[:max_tokens], end * 0)]", "cut_and_ended"),
    Mutant("cap", "c3align/decoders/prefix/model.py", "F.pad(wanted, (prefix.shape[1] - 1, 1))", "F.pad(wanted, (prefix.shape[1], 0))", "models_own_in_float64"),
    Mutant("cap", "c3align/decoders/prefix/decoder.py", 'options.pop("block_size", None) or', "len(rows) or", "blocks_of_one_size"),
    Mutant("cap", "c3align/decoders/prefix/decoding.py", "row_offset=self.first_row", "row_offset=0", "test_sampling"),
    Mutant("cap", "c3align/decoders/prefix/decoding.py", "(-uniform_logs).log()", "uniform_logs", "follow_the_softmax"),
    Mutant("cap", "c3align/decoders/prefix/decoding.py", "width = 1 + prefix.shape[1]", "width = prefix.shape[1]", "blocks_of_one_size"),
    Mutant("cap", "c3align/training/loop.py", "self.share.n_processes / count", "1 / sum(p.tokens.size for p in pieces)", "token_on_average"),
    Mutant("P7", "c3align/training/loop.py", '"state": moments', '"state": {}', "stopped_at_any_step"),
    Mutant("P7", "c3align/training/loop.py", "skip=self.step - epoch * n_batches", "skip=0", "stopped_at_any_step"),
    Mutant("P11", "c3align/decoders/captions.py", "if mark is not None and", "if False and", "another_encoder"),
    Mutant("P6", "c3align/decoders/retrieval.py", "if rows.dtype != np.float32 or", "if", "test_memory_captioner and attacks"),
    Mutant("P5", "c3align/decoders/place.py", "if (means > most).any():", "if False:", "not_aligned or centered_by_another"),
    Mutant("P5", "c3align/decoders/place.py", "few = len(np.unique(components.round(5), axis=0)) < ENOUGH", "few = False", "no_aligned_row_is_refused"),
    Mutant("P5", "c3align/decoders/diffusion.py", "if length >= LEAST_MEAN and along < PART * length:", "if False:", "aligned_rows_of_norm_one"),
    # decoders of pictures
    Mutant("draw", "c3align/centering.py", "if other in (None, name) and not mixed and shift(state, name, glance) <= most:", "if not mixed and shift(state, name, glance) <= most:", "texts_of_an_encoder"),
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
    Mutant("draw", "c3align/decoders/diffusion.py", "expected is not None and not", "False and not", "aligned_rows_are_refused"),
    Mutant("draw", "c3align/decoders/diffusion.py", "if nearest not in (None, self.modality_):", "if False:", "texts_warn"),
    Mutant("draw", "c3align/decoders/pictures/decoder.py", "ops.normalize(unit + memory", "ops.normalize(memory", "half_way"),
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
    Mutant("pipe", "c3align/pipeline.py", "        aligner.__dict__ = before", "        pass", "failed_fit_leaves"),
    Mutant("pipe", "c3align/pipeline.py", "row_offset=batch.kept[start]", "row_offset=0", "sampled_captions_do_not"),
    Mutant("P5", "c3align/pipeline.py", ".all(axis=1) & batch.rows.any(axis=1)", ".all(axis=1)", "test_pipeline and bad_embeddings"),
    Mutant("P11", "c3align/pipeline.py", "if bound not in (None, self.encoder.fingerprint):", "if False:", "another_encoders_aligner"),
    Mutant("P6", "c3align/_pipeline_files.py", 'or config["decoder"] not in DECODERS:', "or False:", "test_pipeline and damage_is_named"),
    Mutant("P7", "c3align/cli/_decode.py", 'scratch.open("w"', 'path.open("w"', "test_cli_decode and broken_files"),
    Mutant("demo", "c3align/cli/demo/_variants.py", "    if not collapse:", "    if False:", "without_collapse"),
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
    Mutant("geo", "c3align/geometry/_gap.py", "1 / spread**2", "1 / spread", "built_noise"),
    Mutant("geo", "c3align/geometry/_spectrum.py", "sums <= energy * total", "sums < energy * total", "energy_is_exceeded"),
    Mutant("geo", "benchmarks/paper/_lemmas.py", "sum(n_effective) + 2 * n_ineffective", "sum(n_effective) + n_ineffective", "initial_gap"),
    Mutant("geo", "c3align/geometry/_spectrum.py", "n_dims - size, n_dims - 1", "0, size - 1", "principal_angles"),
    Mutant("geo", "c3align/geometry/_distributions.py", "- 2 * common", "- common", "formula_of_fid"),
    Mutant("geo", "c3align/geometry/_distributions.py", "is_b & ~held", "is_b", "separability or TestSeparability"),
    Mutant("geo", "c3align/geometry/_sphere.py", "exponents[rows, start + rows] = -np.inf", "pass", "wang_and_isola"),
    Mutant("geo", "c3align/geometry/_retrieval.py", "(centered**3).mean()", "np.abs(centered**3).mean()", "hubness or Neighbours"),
    Mutant("geo", "c3align/geometry/_retrieval.py", "scores[rows, start + rows] = -np.inf", "pass", "k_occurrence or bias"),
    Mutant("geo", "c3align/geometry/_rows.py", "X.n_rows / (X.n_rows - 1)", "1", "stand_for_rows"),
    Mutant("geo", "c3align/geometry/_rows.py", "ops.moments(rows)  # refuses", "pass  # refuses", "row_of_the_whole"),
    Mutant("geo", "c3align/geometry/_rows.py", "yield unit_part(rows, span if order", "yield unit_rows(rows)[span] if order is None else unit_part(rows, span if order", "never_copied_whole"),
    Mutant("geo", "benchmarks/paper/_theory_training.py", "-= 2\n", "-= 1\n", "steps_follow"),
    Mutant("geo", "benchmarks/paper/_theory_training.py", "step > done", "step >= done", "survives_a_kill"),
    Mutant("geo", "benchmarks/paper/_theory_training.py", "rows[:, unused] @ basis", "rows[:, unused] @ basis / 2", "fewer_dimensions"),
    # public docstrings
    Mutant("docs", "c3align/noise.py", "    mix : float in [0, 1]\n        The weight a in ``(1 - a) x + a eps / ||eps||``, x a unit row.\n", "", "public_docstrings"),
    Mutant("docs", "c3align/neighbours.py", "    k : int\n        From 1 to m.\n", "    k : int\n", "public_docstrings"),
    Mutant("docs", "c3align/pipeline.py", "unseen.pictures[12:13]", "unseen.pictures[13:14]", "examples_print"),
    # report: all rows, samples, pictures, page
    Mutant("report", "c3align/io/rows.py", 'getattr(part, "mode", None) == "r" and ', "", "private_map"),
    Mutant("report", "c3align/report/_measure.py", "total = total + ModalityStatistics", "total = ModalityStatistics", "leave_no_trace"),
    Mutant("report", "c3align/io/rows.py", "counted from row {start} of", "counted from row 0 of", "count_rows_in_the_whole"),
    Mutant("report", "c3align/report/_measure.py", "statistics[i].mean, statistics[j].mean", "samples.rows(when)[i].mean(axis=0), samples.rows(when)[j].mean(axis=0)", "gap_and_sigma_are_of_all_rows"),
    Mutant("report", "c3align/report/_measure.py", "return lambda i, rows: aligner.transform(rows, modality=sources[i].name)", "pass", "what_the_aligner_makes"),
    Mutant("report", "c3align/report/_advice.py", "if abs(now - was) <= 2 * error:", "if True:", "it_follows_the_figures"),
    Mutant("report", "c3align/report/_advice.py", "constant = pair.gap_direction is None or pair.gap_direction >= CONSTANT", "constant = True", "it_follows_the_figures"),
    Mutant("report", "c3align/report/_noise_charts.py", "sigma = float(np.sqrt((eps**2).mean())) or 1.0", "sigma = 0.03", "TestPlots"),
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
    Mutant("P5", "c3align/ops/_device.py", "    if asks:", "    if False:", "test_device and refusals"),
    Mutant("P5", "c3align/ops/_device.py", "first_row + int(flags", "int(flags", "later_blocks_are_named"),
    Mutant("P4", "c3align/ops/eager.py", "    if ids is None:\n", "    if True:\n", "test_device and numbers_of_rows"),
    Mutant("P5", "c3align/ops/_device.py", "negative = (ids < 0).any() if", "negative = (ids < 0).all() & False if", "test_device and numbers_of_rows"),
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
    Mutant("module", "c3align/nn.py", "modality, mean = self._center(X, modality)", "(modality, mean), _ = self._center(X, modality), _draw(X.device)", "is_left_alone"),
    Mutant("module", "c3align/nn.py", "noise.stream_seed(aligner.seed, name) for name", "aligner.seed for name", "two_modalities_is_independent"),
    Mutant("module", "c3align/noise.py", '"little") ^ seed', '"big") ^ seed', "streams_are_told_apart"),
    Mutant("module", "c3align/nn.py", "self._looked.add(modality)", "pass", "looked_at_once"),
    Mutant("module", "c3align/nn.py", 'state_dict.pop(f"{prefix}row_offset", None)', "pass", "old_one_is_taken"),
    Mutant("module", "c3align/nn.py", '{**self.__dict__, "_uploaded": {}}', "self.__dict__", "copies_and_pickles"),
    Mutant("module", "c3align/nn.py", "self._upload(fn(torch.empty(0)).device)", "pass", "vectors_move_with"),
    Mutant("module", "c3align/nn.py", "torch.from_numpy(vector).to(dtype)", "torch.from_numpy(vector).half().to(dtype)", "keeps_the_mean_whole"),
    Mutant("module", "c3align/nn.py", "if type(X) not in _PLAIN and not is_recorded:", "if False:", "fake_tensors_leave"),
    Mutant("module", "c3align/nn.py", "if torch.onnx.is_in_onnx_export():", "if False:", "TestOnnx"),
    # loading (P6)
    Mutant("P6", "c3align/persistence.py", "    if problem:\n        raise", "    if False:\n        raise", "attack"),
    Mutant("P6", "c3align/io/container.py", "for name in sorted(set(found) ^ set(expected)):", "for name in []:", "attack"),
    Mutant("P6", "c3align/io/container.py", "parse_constant=refuse, ", "", "attack"),
    Mutant("P6", "c3align/persistence.py", "if path.stat().st_size > payload + MAX_HEADER_BYTES + 8:", "if False:", "attack"),
    Mutant("P6", "c3align/persistence.py", "config.get(\"numerics\") != NUMERICS or", "", "attack"),
    Mutant("P6", "c3align/persistence.py", "    return _checked(found, prefix)", "    return found", "attack"),
    Mutant("P6", "c3align/covariance.py", "if (np.abs(p - m * mean) > s * spread + 2 * bound).any():", "if False:", "attack or problems"),
    # folders of other libraries: no code, no other files, no memory beyond the weights (P6)
    Mutant("P6", "c3align/io/model_configs.py", "if key in CODE and value:", "if False:", "test_attacks and names_a_model_class_of_a_file"),
    Mutant("P6", "c3align/io/model_configs.py", "if name not in IMPLEMENTATIONS:", "if False:", "test_attacks and kernel_of_the_hub"),
    Mutant("P6", "c3align/io/model_configs.py", "if number > _most(", "if False and number > _most(", "test_attacks and a_billion_labels"),
    Mutant("P6", "c3align/io/model_configs.py", '(".." in name or os.path.lexists(name))', '(".." in name)', "test_attacks and vocabulary_from_the_machine"),
    Mutant("P6", "c3align/io/model_folders.py", "if path.is_symlink() and not any(", "if False and not any(", "test_attacks and vocabulary_to_a_secret"),
    Mutant("P6", "c3align/io/model_folders.py", 'root.parent.parent / "blobs"', 'root / "blobs"', "test_model_folders and cache_of_the_hub"),
    Mutant("P6", "c3align/io/model_folders.py", "if needed > weights.n_numbers:", "if False:", "test_attacks and vocabulary_of_millions"),
    Mutant("P6", "c3align/io/model_folders.py", "if n_made > most:", "if False:", "test_attacks and three_thousand_layers"),
    Mutant("P6", "c3align/io/model_folders.py", "if free > FREE_BYTES + weights.n_bytes:", "if False:", "test_model_folders and nothing_is_allocated"),
    Mutant("P6", "c3align/io/model_folders.py", "if told.get(kind):", "if False:", "test_attacks and renames_a_tensor"),
    Mutant("P6", "c3align/io/model_folders.py", "if not tensor.isfinite().all():", "if False:", "test_attacks and is_no_number"),
    Mutant("P6", "c3align/encoders/sentence_transformers.py", "if known is None:", "if known is None and False:", "test_attacks and lists_a_class_of_python"),
    Mutant("P6", "c3align/encoders/open_clip.py", 'or any(folder.glob("open_clip_pytorch_model.*"))', "", "test_attacks and a_pickle_that_open_clip_prefers"),
    Mutant("P6", "c3align/decoders/prefix/files.py", "    _check_mapper(config, lm, tensors)\n", "", "test_attacks and mapper_of_gigabytes"),
    Mutant("P6", "c3align/decoders/prefix/files.py", '        _check_lora(config["lora"], lm)', "        pass", "test_attacks and (searches_for_ages or imports_by_lora)"),
    Mutant("P6", "c3align/_pipeline_files.py", 'encoders.check_claim(chosen, config["encoder"]["fingerprint"])', "pass", "test_attacks and states_another_encoder"),
    Mutant("P6", "c3align/_imports.py", "    refuse_unsafe(module)\n    try:", "    try:", "test_model_folders and with_holes"),
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
    Mutant("P6", "c3align/io/boxes.py", "n_samples * n_edits > ", "n_samples > ", "attacks and five_thousand"),
    Mutant("P6", "c3align/io/boxes.py", "b\"trun\": first", "b\"trun\": 0", "attacks and fragment"),
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
    Mutant("P6", "c3align/io/npy.py", " or not _HEADER.fullmatch(text)", "", "attacks and rows"),
    Mutant("P6", "c3align/io/npy.py", "if _identity(file) != self.seen:", "if False:", "exchanged_while"),
    Mutant("P6", "c3align/io/npy.py", "            left = left[n_bytes:]", "            break", "short_read"),
    Mutant("P6", "c3align/encoders/precomputed.py", "if not np.isfinite(rows).all():", "if False:", "attacks and holds_no_number"),
    Mutant("P6", "c3align/errors.py", "        return one_line(super().__str__())", "        return super().__str__()", "what_is_shown"),
    Mutant("P6", "c3align/cli/_app.py", "if to.isatty() else text", "if False else text", "where_no_terminal"),
]  # fmt: skip


def run(mutant: Mutant) -> str | None:
    """Test one mutant; None when it was noticed, else why not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in COPIED:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        path = folder / mutant.file
        text = path.read_text()
        if text.count(mutant.old) < 1:
            return "the line to change is no longer there"
        path.write_text(text.replace(mutant.old, mutant.new, 1))
        if mutant.file.startswith(("csrc/c", "csrc/b", "setup")) and "cuda" not in mutant.file:
            shutil.rmtree(folder / "build", ignore_errors=True)
            build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"]
            environment = {**os.environ, "C3ALIGN_NATIVE": "on", "C3ALIGN_CUDA": "off"}
            subprocess.run(build, cwd=folder, env=environment, check=True, capture_output=True)
        environment = {**os.environ, "PYTHONPATH": str(folder), "C3ALIGN_DATA": str(data_folder())}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests", "-k", mutant.tests]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        noticed = done.returncode == 1 or done.returncode < 0  # a failed test, or a crash
        return None if noticed else f"pytest ended with {done.returncode}: {done.stdout[-300:]}"


def data_folder() -> Path:
    return Path(os.environ.get("C3ALIGN_DATA", ROOT.parent / "shared" / "data")).resolve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose promise or file contains this")
    only = parser.parse_args().only
    chosen = [m for m in MUTANTS if only in m.promise or only in m.file]
    survivors = 0
    for mutant in chosen:
        reason = run(mutant)
        survivors += reason is not None
        verdict = "noticed" if reason is None else f"SURVIVED ({reason})"
        print(f"{mutant.promise:5} {mutant.file:28} {mutant.new[:50]!r}: {verdict}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants noticed")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
