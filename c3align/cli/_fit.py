"""`c3align fit` and `c3align transform`: statistics from rows, and rows aligned by them."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import typer

from c3align import _files
from c3align.cli._app import AlignerFolder, Fingerprint, Output, Rows, app
from c3align.errors import C3AlignError, ModalityMeanWarning


@app.command(epilog="Examples:  c3align fit text.npy -o out   |   c3align fit emb-text --pair emb -o out")
def fit(
    rows: Rows,
    output: Output,
    pair: Annotated[list[str] | None, typer.Option(help="Rows paired with them, in the same order.")] = None,
    modality: Annotated[str | None, typer.Option(help="What the rows are: 'text' unless their folder says.")] = None,
    pair_modality: Annotated[str | None, typer.Option(help="What their partners are: 'image' unless ...")] = None,
    encoder: Fingerprint = None,
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
    aligner = C3Aligner(seed=seed, zero_rows=zero_rows, second_moments=second_moments, **settings)  # type: ignore[arg-type]
    found = _files.sources(rows)[::-1]  # of a tree of two modalities text comes first
    if pair:
        found = [found[0], *_files.sources(pair)]
    if len(found) > 2:
        raise C3AlignError("the folder holds more than two modalities; pass one of its folders, and another as --pair")
    if noise == "residual" and len(found) == 1:
        raise C3AlignError("noise 'residual' is learned from pairs; pass their partners as --pair")
    fingerprint = _files.one_fingerprint(found, encoder)
    first, second = found[0].stack, found[1].stack if len(found) > 1 else None
    names = {"modality": modality or found[0].modality or "text"}
    names["y_modality"] = pair_modality or (second and found[1].modality) or "image"
    if second is not None and second.shape != first.shape:
        raise C3AlignError(f"the rows are {first.shape} and their partners {second.shape}; pass files of equal shape")
    for start, stop in _files.progress(first.spans(), first.n_rows, "fit"):
        partners = None if second is None else second.read(start, stop)
        with _files.located(first, start):
            aligner.partial_fit(first.read(start, stop), partners, **names)
    if fingerprint:
        aligner.bind_encoder(fingerprint)
    aligner.save_pretrained(output)
    print(f"{output}: {_summary(aligner)}")


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
    from c3align import C3Aligner

    found = _files.sources(rows)
    if len(found) > 1:
        raise C3AlignError(f"{rows[0]} holds several modalities; pass one of its folders")
    fitted = C3Aligner.from_pretrained(aligner, encoder=_files.one_fingerprint(found, encoder))
    stack = found[0].stack
    modality = _modality_of(found[0].modality, modality, fitted)
    if stack.n_dims != fitted.n_features_in_:
        raise C3AlignError(
            f"the rows have {stack.n_dims} dimensions and the aligner {fitted.n_features_in_}; use rows of its encoder"
        )
    name, mean = _files.choose_mean(fitted, stack, modality)
    _files.align(fitted, stack, mean, output)
    print(f"{output}: {stack.n_rows} rows, centered by the mean of {name}")


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
