"""Every public function, class and method with every kind of wrong argument: what fails says so in one clear line.

Found by `__all__`, so that a new name is swept without a line here. One argument at a time is replaced, the others stay
as they should be. What is taken is taken: whether results are right is other tests' matter.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import warnings
from functools import cache, partial
from importlib.util import find_spec

import numpy as np
import pytest

from c3align import C3Aligner, ModalityStatistics, PairStatistics, noise, report
from c3align.calibration import Calibration
from c3align.covariance import CovarianceStatistics, PairCovariance
from c3align.cross_covariance import CrossCovariance
from c3align.errors import C3AlignError
from c3align.mappings import QuantileSketch, RowAffine
from c3align.neighbours import Search
from c3align.sample import RowSample
from tests import tiny_encoders

# what users call; `centering` and the rest of `ops`, `io` and `training` take what these have checked
ROOMS = ["", "calibration", "choosing", "covariance", "cross_covariance", "datasets", "distributed", "encoders"]
ROOMS += ["geometry", "mappings", "merging", "neighbours", "nn", "noise", "ops", "persistence", "report", "sample"]
ROOMS += ["statistics", "decoders", "training"]
# what only the library hands to itself
INNER = {"PairMoments.of", "sample.together", "RowAffine.on_covariance", "RowAffine.rounded", "RowAffine.turned"}
INNER |= {"RowAffine.offset_for", "RowAffine.then", "RowAffine.vectors_for", "persistence.dump", "persistence.save"}
INNER |= {"CovarianceStatistics.of", "PairCovariance.of"}
INNER |= {"report.plot_cones", "report.plot_spectra"}  # are slow, and made by the function that makes their neighbours
N, D = 40, 6


@cache
def cached_report():
    rng = np.random.default_rng(0)
    return report.report(*(rng.normal(size=(N, D)) + shift for shift in (1, 0)))


@cache
def valid():
    """For each argument's name, or its owner's and its own, a value that works."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N, D)) + 1
    other = rows + 0.3 * rng.normal(size=(N, D)) + np.eye(D)[0]
    aligner = C3Aligner(second_moments=True).fit(rows, other)
    of_rows, of_other = ModalityStatistics.from_rows(rows), ModalityStatistics.from_rows(other)
    numbers = np.arange(N)
    return {
        **dict.fromkeys(["X", "a", "queries", "memory", "Q", "rows", "Z", "residuals", "image"], rows),
        **dict.fromkeys(["Y", "b", "y", "targets", "D"], other),
        **dict.fromkeys(["groups", "query_groups", "memory_groups", "row_ids"], numbers),
        **dict.fromkeys(["mean", "goal", "scale", "shift", "direction", "values"], np.full(D, 0.1)),
        **dict.fromkeys(["n_rows", "n_dims", "k", "width"], D),
        **dict.fromkeys(["modality", "query", "source"], "text"),
        **dict.fromkeys(["document", "target", "y_modality"], "image"),
        **dict.fromkeys(["cosine", "alpha_bar", "mix", "prior", "energy"], 0.5),
        **dict.fromkeys(["sigma", "variance", "weight", "norm", "false_positive_rate"], 0.4),
        **dict.fromkeys(["aligner", "other"], aligner),
        "covariance": np.eye(D),
        "seed": 1,
        "zero_rows": "raise",
        "job": "search",
        "spec": "glyphs",
        "fingerprint": "glyphs",
        "scores": np.linspace(-1, 1, D),
        "lists": [["x", "y"], ["y"]],
        "code_point": 65,
        "noise": "isotropic",
        "mapping": "center",
        "statistics": {"text": of_rows, "image": of_other},
        "of_a": of_rows,
        "of_b": of_other,
        "pairs": PairStatistics.from_rows(rows, other),
        "of_pairs": PairStatistics.from_rows(rows, other),
        "measure_gap.a": "image",
        "measure_gap.b": "text",
        "gap.a": "image",
        "gap.b": "text",
        "paired": True,
        "n": 1,
        "texts": ["a cat", "a dog"],
        "captions": [f"cat {i}" for i in range(N)],
        "Statistics.other": of_rows,
        "CovarianceStatistics.other": CovarianceStatistics.from_rows(rows),
        "at": np.linspace(0, 1, 5),
        "samples": {"text": RowSample.from_rows(rows), "image": RowSample.from_rows(other)},
        "Calibration.fuse.rows": {"text": rows, "image": other},
        "from_rows.rows": {"text": rows, "image": other},
        "samples_of.rows": {"text": rows, "image": other},
        "from_rows.groups": {"text": numbers},
        "samples_of.groups": {"text": numbers},
        "content": of_rows.to_bytes(),
        "folder": "folder",
        "folder_or_hub_id": "folder",
        "then.other": RowAffine(rows[0]),
        "RowAffine.apply.rows": rows,
        "encoder": "glyphs",
        "plot_overview.found": cached_report(),
        "from_packed.statistics": of_rows,
    }


@cache
def instances():
    """An object of each class whose methods are swept."""
    known = valid()
    rows, other = known["X"], known["Y"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calibration = Calibration.from_rows({"text": rows, "image": other})
    return [
        known["aligner"], calibration.with_pairs(rows, other, query="text", document="image"), Search(rows),
        known["of_a"], known["pairs"], CovarianceStatistics.from_rows(rows), PairCovariance.from_rows(rows, other),
        CrossCovariance.from_rows(rows, other), noise.Noise(), RowSample.from_rows(rows), RowAffine(rows[0]),
        QuantileSketch.from_rows(rows),
    ]  # fmt: skip


def wrong():
    """One of each kind of thing that is given by mistake."""
    rows = valid()["X"]
    return {
        "None": None, "text": "no such", "empty text": "", "negative": -1, "zero": 0, "fraction": 1.5, "nan": math.nan,
        "infinity": math.inf, "bool": True, "list": [], "dict": {}, "list of lists": rows.tolist(),
        "object": object(), "number": np.float64(0.3), "1-d": rows[0], "0-d": np.array(1.0), "3-d": rows[None],
        "wide": np.ones((N, D + 1)), "few": rows[:1], "empty": rows[:0], "no columns": rows[:, :0],
        "NaN rows": np.full((N, D), np.nan), "zero rows": np.zeros((N, D)), "integers": np.ones((N, D), np.int64),
        "bytes": np.ones((N, D), np.uint8), "strings": np.full((N, D), "x"), "objects": np.full((N, D), None),
        "complex": rows + 1j, "times": np.ones((N, D), "M8[s]"), "class": dict, "names": ["a", "b"],
    }  # fmt: skip


def is_result(item):
    """Whether the library makes these, and nobody else."""
    if issubclass(item, tuple):
        return True
    return dataclasses.is_dataclass(item) and any(
        f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING for f in dataclasses.fields(item)
    )


@cache
def calls():
    """(name, callable) of everything public that takes arguments."""
    if find_spec("transformers"):
        tiny_encoders.import_torchvision()
    found = {}
    for room in ROOMS:
        module = importlib.import_module(f"c3align.{room}".rstrip("."))
        for name in module.__all__:
            item = getattr(module, name)
            if inspect.isfunction(item) or (
                inspect.isclass(item)
                and not issubclass(item, Exception)
                and not getattr(item, "_is_protocol", False)
                and not is_result(item)
            ):
                found[f"{room}.{name}".strip(".")] = item
            if inspect.isclass(item):
                for member, value in inspect.getmembers(item, inspect.ismethod):
                    if not member.startswith("_") and "c3align" in value.__func__.__module__:
                        found[f"{name}.{member}"] = value
    for item in instances():
        for member, value in inspect.getmembers(item, inspect.ismethod):
            if not member.startswith("_") and value.__func__.__module__.startswith("c3align"):
                found.setdefault(f"{type(item).__name__}.{member}", value)
    return {name: item for name, item in found.items() if inspect.signature(item).parameters and name not in INNER}


def arguments(name, item):
    """Values that work, for all arguments without a default and those optional ones that are known."""
    known, found = valid(), {}
    for parameter in inspect.signature(item).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        places = [f"{part}.{parameter.name}" for part in (name, name.rpartition(".")[2])] + [parameter.name]
        value = next((known[place] for place in places if place in known), None)
        if parameter.default is parameter.empty:
            found[parameter.name] = value
    return found


def fault(call):
    """What is wrong with how a call fails; None where it does not, or says well why."""
    from sklearn.exceptions import NotFittedError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except (C3AlignError, NotFittedError, FileNotFoundError) as error:
        text = str(error)
        return None if 0 < len(text) <= 1000 and "\n" not in text and "Error(" not in text else f"unclear: {text}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:150]}"
    return None


def faults(name):
    item = calls()[name]
    base, parameters = arguments(name, item), inspect.signature(item).parameters.values()
    rows = [valid()[side] for side in "XY" if any(found.kind is found.VAR_POSITIONAL for found in parameters)]
    for parameter in parameters:
        for kind, value in wrong().items():
            data, given = rows, {**base, parameter.name: value}
            if parameter.kind is parameter.VAR_POSITIONAL:
                data, given = [rows[0], value], base
            elif parameter.kind is parameter.VAR_KEYWORD:
                given = {**base, "no_such_option": value}
            found = fault(partial(item, *data, **given))
            if found:
                yield f"{parameter.name}={kind}: {found}"


@pytest.mark.parametrize("name", sorted(calls()))
def test_what_fails_says_so(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not list(faults(name))
