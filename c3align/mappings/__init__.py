"""Mappings: from what statistics know of each modality, the map that its rows go through before renormalisation.

Every mapping is a small frozen value with `solve`, which gives one `RowTransform` a modality; `needs` names what it
has to know. All but `Realign` center each modality first (`Center(strength)` in part), so that aligned rows lie around
zero, and what papers call mapping a onto b is ``found["a"].then(found["b"].inverse())``. Modalities count alike,
whatever their numbers of rows.

Covariances are shrunken, so that few rows suffice. Solving reads no rows; it decomposes matrices (n_dims, n_dims).
"""

from __future__ import annotations

import math
from collections import abc
from importlib import metadata
from typing import Any, Protocol, runtime_checkable

from c3align.errors import C3AlignError
from c3align.mappings._affine import RowAffine, RowTransform
from c3align.mappings._learned import Need, Statistics
from c3align.mappings._paired import CCA, Procrustes, Ridge
from c3align.mappings._quantiles import BINS, Quantile, QuantileSketch, RowQuantiles
from c3align.mappings._unpaired import Barycenter, Center, Coral, DropUnequal, GaussianOT, Realign, Standardize

__all__ = [
    "BINS",
    "CCA",
    "Barycenter",
    "Center",
    "Coral",
    "DropUnequal",
    "GaussianOT",
    "Mapping",
    "Procrustes",
    "Quantile",
    "QuantileSketch",
    "Realign",
    "Ridge",
    "RowAffine",
    "RowQuantiles",
    "RowTransform",
    "Standardize",
    "available",
    "load",
]

CENTER = "center"
ENTRY_POINTS = "c3align.mappings"  # third parties: name = "module:function", which takes nothing and gives a mapping
_MOST, _LONGEST = 10**4, 200  # of what a file may ask for
_BUILT_IN: dict[str, abc.Callable[[], Mapping]] = {
    "barycenter": Barycenter,
    "cca": CCA,
    "center": Center,
    "coral": Coral,
    "drop_unequal": DropUnequal,
    "gaussian_ot": GaussianOT,
    "procrustes": Procrustes,
    "quantile": Quantile,
    "realign": Realign,
    "ridge": Ridge,
    "standardize": Standardize,
}


@runtime_checkable
class Mapping(Protocol):
    """What every mapping offers."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """What `solve` takes beyond `ModalityStatistics`: some of "second_moments", "pairs" and "sketches"."""
        ...

    def solve(self, statistics: Statistics, **learned: Any) -> abc.Mapping[str, RowTransform]:
        """Compute one map for each modality.

        Parameters
        ----------
        statistics : mapping of str to ModalityStatistics or CovarianceStatistics
            Statistics of each modality, with covariances where the mapping needs "second_moments".
        **learned : mapping
            What else is known: `pairs`, a `CrossCovariance` for each (str, str), in any order of the two modalities;
            `sketches`, a `QuantileSketch` for each modality; and `samples`, unit rows (n_rows, n_dims) float64, for
            what statistics do not tell: the centroid of `Realign`.

        Returns
        -------
        mapping of str to RowTransform
            What unit rows of each modality go through.

        Raises
        ------
        C3AlignError
            What the mapping needs was not learned, or does not determine it.
        """
        ...


def is_plain(mapping: str | Mapping) -> bool:
    """Whether this is C3's own: the mean is subtracted, and nothing else done."""
    return mapping == CENTER or mapping == Center()


def refuse_own_mean(mapping: str | Mapping) -> None:
    """Refuse rows that would be centered by their own mean, which no other mapping can do.

    Raises
    ------
    C3AlignError
        Unless the mapping is plain.
    """
    if not is_plain(mapping):
        raise C3AlignError(
            f"mapping={mapping!r} takes rows of a fitted modality, and these would be centered by their own mean; "
            "fit rows of their modality too, with partial_fit(X, modality=...), and pass its name"
        )


def available() -> list[str]:
    """List the names that `load` knows.

    Returns
    -------
    list of str
        The built-in ones and those of installed packages, in alphabetical order.
    """
    return sorted({*_BUILT_IN, *(point.name for point in metadata.entry_points(group=ENTRY_POINTS))})


def load(mapping: str | Mapping) -> Mapping:
    """Find a mapping by its name.

    Parameters
    ----------
    mapping : str or Mapping
        A name for a mapping with its defaults; a mapping comes back as it is.

    Returns
    -------
    Mapping
        The one that is meant.

    Raises
    ------
    C3AlignError
        An unknown name, and what has no `solve` and `needs`; the known names are listed.
    """
    if isinstance(mapping, Mapping) and not isinstance(mapping, type):
        return mapping
    if isinstance(mapping, str) and mapping in _BUILT_IN:
        return _BUILT_IN[mapping]()
    for point in metadata.entry_points(group=ENTRY_POINTS):
        if point.name == mapping:
            return point.load()()
    raise C3AlignError(f"mapping must be one of {', '.join(available())}, or an object of their kind, got {mapping!r}")


def described(mapping: Mapping) -> dict[str, Any]:
    """A mapping of this package as its name and parameters, for a file.

    Raises
    ------
    C3AlignError
        For those of others, which no file may load.
    """
    for name, kind in _BUILT_IN.items():
        if type(mapping) is kind:
            values = {key: value.item() if hasattr(value, "item") else value for key, value in vars(mapping).items()}
            return {"name": name, **values}
    raise C3AlignError(
        f"only c3align's own mappings can be saved, got {mapping!r}; save the aligner with mapping='center', and set "
        "this one with set_params(mapping=...) after loading"
    )


def from_description(found: Any) -> str | Mapping:
    """The mapping that a file names: of this package, and with parameters of the kinds that it takes.

    Raises
    ------
    C3AlignError
        For anything else; nothing is imported for it.
    """
    name = found.get("name") if isinstance(found, dict) else found
    if not isinstance(name, str) or name not in _BUILT_IN:
        raise C3AlignError(f"mapping must be one of {', '.join(_BUILT_IN)}, got {found!r}; save the aligner again")
    if not isinstance(found, dict):
        return name
    usual = vars(_BUILT_IN[name]())
    given = {key: value for key, value in found.items() if key != "name"}
    if set(given) != set(usual) or not all(_is_alike(value, usual[key]) for key, value in given.items()):
        raise C3AlignError(f"{name!r} takes the parameters {', '.join(usual)}, got {given!r}; save the aligner again")
    return _BUILT_IN[name](**given)


def _is_alike(value: Any, usual: Any) -> bool:
    """Whether a parameter is of its default's kind: a finite number, a count, a short name or nothing."""
    if type(usual) is float:
        return type(value) in (int, float) and abs(value) < math.inf
    if type(usual) is int:
        return type(value) is int and 0 < value <= _MOST
    return value is None or (type(value) is str and len(value) <= _LONGEST)
