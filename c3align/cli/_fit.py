"""`c3align fit` and `c3align transform`: statistics from rows, and rows aligned by them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from c3align import centering, mappings
from c3align.cli._app import AlignerFolder, Fingerprint, On, Output, Rows, app, one_fingerprint, progress, say
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.io.joins import joined
from c3align.io.npy import Stored
from c3align.io.rows import RowSource, write_npy
from c3align.io.shards import open_sources

GLANCE_ROWS, GLANCE_FILES = 1024, 32  # looked at, where several files are learned as one modality
SAMPLE_ROWS = 4096  # of a file, by which the mean for all its rows is chosen
OWN = "these rows"  # the modality of rows that are centered by their own mean


@app.command(epilog="Examples:  c3align fit text.npy -o out   |   c3align fit emb-text --pair emb -o out")
def fit(
    rows: Rows,
    output: Output,
    pair: Annotated[
        list[str] | None, typer.Option(help="Partners: by item where embed wrote both, else in order.")
    ] = None,
    modality: Annotated[str | None, typer.Option(help="What the rows are: 'text' unless their folder says.")] = None,
    on: On = None,
    pair_modality: Annotated[str | None, typer.Option(help="What their partners are: 'image' unless ...")] = None,
    encoder: Fingerprint = None,
    mapping: Annotated[
        str, typer.Option(help="'center', or 'barycenter' and others: one index over several modalities.")
    ] = "center",
    noise_cosine: Annotated[float | None, typer.Option(help="Noise as a cosine; learned when absent.")] = None,
    noise: Annotated[str, typer.Option(help="'isotropic', or 'residual': shaped as in the pairs.")] = "isotropic",
    second_moments: Annotated[
        bool, typer.Option("--second-moments", help="Learn covariances too: single rows find their modality.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    zero_rows: Annotated[str, typer.Option(help="'raise', or 'keep' rows without a direction as zeros.")] = "raise",
) -> None:
    """Learn the statistics of one modality, or of two from pairs, and save them as an aligner."""
    from c3align import C3Aligner

    settings: dict[str, Any] = {"noise": noise, "noise_cosine": "auto" if noise_cosine is None else noise_cosine}
    settings["mapping"] = mapping
    aligner = C3Aligner(seed=seed, zero_rows=zero_rows, second_moments=second_moments, **settings)  # type: ignore[arg-type]
    found = open_sources(rows)[::-1]  # of a tree of two modalities text comes first
    if pair:
        found = [found[0], *open_sources(pair)]
    if len(found) > 2:
        raise C3AlignError("the folder holds more than two modalities; pass one of its folders, and another as --pair")
    if noise == "residual" and len(found) == 1:
        raise C3AlignError("noise 'residual' is learned from pairs; pass their partners as --pair")
    fingerprint = one_fingerprint(found, encoder)
    first, second = found[0], found[1] if len(found) > 1 else None
    names = {"modality": modality or found[0].modality or "text"}
    names["y_modality"] = pair_modality or (second and found[1].modality) or "image"
    _check_alike(first)
    how = ""
    if second is not None:
        (first, second), how = joined((first, second), on)
    elif on is not None:
        raise C3AlignError(f"--on {on} joins two sides, and there is one; pass the other as --pair")
    _learn(aligner, first, second, **names)
    if fingerprint:
        aligner.bind_encoder(fingerprint)
    aligner.save_pretrained(output)
    say(output, f"{output}: {_summary(aligner)}" + (f"\n{how}" if how else ""))


def _learn(aligner: Any, first: RowSource, second: RowSource | None = None, **names: str) -> None:
    """Every row, block by block; `second` holds their partners."""
    if not first.n_rows:
        raise C3AlignError(f"{first.where(0)} holds no rows; pass some")
    for start, rows in progress(first, "fit"):
        partners = None if second is None else second.read(start, start + len(rows))
        with first.located(start, rows):
            aligner.partial_fit(rows, partners, **names)


def _check_alike(source: RowSource) -> None:
    """Files of one modality that lie as far apart as two modalities do are told of: `--pair` was forgotten, perhaps."""
    from c3align import C3Aligner

    samples = [part[:GLANCE_ROWS] for part in source.parts[:GLANCE_FILES] if isinstance(part, Stored)]
    if len(samples) < 2:
        return
    try:
        state = C3Aligner().fit(samples[0]).state_
    except ValueError:  # what is wrong with these rows is said where they are learned
        return
    for path, rows in zip(source.paths[1:], samples[1:]):
        doubt = centering.doubt_about("text", state, centering.Glance.of(rows), centering.FAR)
        if doubt is not None:
            warnings.warn(
                f"the rows of {path} {doubt.replace('its mean', f'the mean of those of {source.paths[0]}')}, and were "
                "learned as one modality; pass one of the files as --pair if they are two",
                ModalityMeanWarning,
                stacklevel=2,
            )
            return


def _summary(aligner: Any) -> str:
    learned = ", ".join(f"{found.n_rows} {name} rows" for name, found in aligner.statistics_.items())
    text = f"{learned} of {aligner.n_features_in_} dimensions, sigma {aligner.sigma_:.4f}"
    return f"{text}\n{aligner.gap(*next(iter(aligner.pairs_)))}" if aligner.pairs_ else text


@app.command(epilog="Example:  c3align transform image.npy --aligner aligner --modality image -o aligned.npy")
def transform(
    rows: Rows,
    aligner: AlignerFolder,
    output: Output,
    modality: Annotated[str, typer.Option(help="What they are; 'auto' finds out, 'batch' takes their mean.")] = "auto",
    encoder: Annotated[
        str | None, typer.Option(help="Fingerprint of the rows' encoder; another one is refused.")
    ] = None,
) -> None:
    """Align rows with a saved aligner; writes one .npy of the same dtype, whole or not at all."""
    from sklearn.base import clone

    from c3align import C3Aligner

    found = open_sources(rows)
    if len(found) > 1:
        raise C3AlignError(f"{rows[0]} holds several modalities; pass one of its folders")
    fitted = C3Aligner.from_pretrained(aligner, encoder=one_fingerprint(found, encoder))
    source = found[0]
    if source.n_dims != fitted.n_features_in_:
        raise C3AlignError(
            f"the rows have {source.n_dims} dimensions and the aligner {fitted.n_features_in_}; use rows of its encoder"
        )
    name = _chosen(fitted, source, _modality_of(source.modality, modality, fitted))
    mean = repr(name)
    if name == centering.BATCH:
        mappings.refuse_own_mean(fitted.mapping)
        fitted, name, mean = clone(fitted), OWN, "these rows themselves"
        _learn(fitted, source, modality=OWN)
    write_npy(output, source.shape, source.parts[0].dtype, _aligned(fitted, source, name))
    say(output, f"{output}: {source.n_rows} rows, centered by the mean of {mean}")


def _chosen(aligner: Any, source: RowSource, modality: str) -> str:
    """Whose mean all the rows are centered by, decided once for the whole of them."""
    if not source.n_rows:
        raise C3AlignError(f"{source.where(0)} holds no rows; pass some")
    state = centering.state_of(aligner, modality)
    choice = centering.center(modality, state, source.sample(SAMPLE_ROWS), source.n_rows)
    if choice.warning:
        warnings.warn(choice.warning, ModalityMeanWarning, stacklevel=2)
    return choice.modality


def _aligned(aligner: Any, source: RowSource, modality: str) -> Iterator[Any]:
    for start, rows in progress(source, "transform"):
        with source.located(start, rows), warnings.catch_warnings():
            warnings.simplefilter("ignore", ModalityMeanWarning)  # the whole of them was looked at
            block = aligner.transform(rows, modality=modality)
        yield block


def _modality_of(known: str | None, asked: str, fitted: Any) -> str:
    """What the folder says where nothing else is asked; one that was not fitted has a mean of its own."""
    if asked != "auto" or known is None:
        return asked
    if known in fitted.statistics_:
        return known
    names = ", ".join(map(repr, fitted.statistics_))
    warnings.warn(
        f"the folder holds {known!r} rows and the aligner knows {names}: they are centered by their own mean; to keep "
        f"that mean, fit {known!r} rows too, as with --pair",
        ModalityMeanWarning,
        stacklevel=2,
    )
    return "batch"
