"""`c3align fit`: statistics from rows."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from c3align import centering
from c3align._settings import check_settings
from c3align.cli._app import (
    Changed,
    Column,
    Fingerprint,
    On,
    OnDevice,
    OnError,
    Output,
    Rows,
    Scale,
    app,
    learned,
    one_fingerprint,
    rules,
    save_aligner,
    say,
    tell_of_changed,
)
from c3align.cli._learning import Learning, list_dropped
from c3align.errors import C3AlignError, ModalityMeanWarning, printable
from c3align.io import atomic
from c3align.io.device import Device
from c3align.io.joins import joined
from c3align.io.opening import here, is_url
from c3align.io.patterns import base_of
from c3align.io.progress import Checkpoint
from c3align.io.rows import RowSource
from c3align.io.shards import open_sources

_ROWS_ALONE = (".npy", ".parquet")  # an aligner's folder may well have a .safetensors
GLANCE_ROWS, GLANCE_FILES = 1024, 32  # looked at, where several files are learned as one modality


@app.command(epilog="Examples:  c3align fit text.npy -o out   |   c3align fit emb-text --pair emb -o out")
def fit(
    rows: Rows,
    output: Output,
    pair: Annotated[
        list[str] | None, typer.Option(help="Partners: by item where embed wrote both, else in order.")
    ] = None,
    modality: Annotated[str | None, typer.Option(help="What the rows are: 'text' unless their folder says.")] = None,
    on: On = None,
    pair_modality: Annotated[
        str | None, typer.Option(help="What their partners are: 'image' unless their folder says.")
    ] = None,
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
    column: Column = None,
    scale: Scale = None,
    on_error: OnError = "raise",
    checkpoint: Annotated[
        Path | None, typer.Option(help="What a run that was ended is resumed from; OUTPUT.checkpoint by default.")
    ] = None,
    changed: Changed = "raise",
    device: OnDevice = None,
) -> None:
    """Learn the statistics of one modality, or of two from pairs, and save them as an aligner. Rerun to resume."""
    from c3align import C3Aligner

    settings: dict[str, Any] = {"noise": noise, "noise_cosine": "auto" if noise_cosine is None else noise_cosine}
    settings["mapping"] = mapping
    aligner = C3Aligner(seed=seed, zero_rows=zero_rows, second_moments=second_moments, **settings)  # type: ignore[arg-type]
    check_settings(aligner.get_params())  # or a row would be blamed for it
    how: dict[str, Any] = {"column": column, "scale": scale}
    found = open_sources(rows, **how)[::-1]  # of a tree of two modalities text comes first
    if pair and len(found) > 1:
        raise C3AlignError(f"{rows[0]} holds several modalities; omit --pair to pair those, or pass one of its folders")
    if pair:
        found = [found[0], *open_sources([here(name) for name in pair], **how)]
    _check_place(output, rows, found)
    for given in filter(None, (rows, pair)):
        tell_of_changed(given)
    for source in found:
        _check_once(source)
    if len(found) > 2:
        raise C3AlignError("the folder holds more than two modalities; pass one of its folders, and another as --pair")
    if noise == "residual" and len(found) == 1:
        raise C3AlignError("noise 'residual' is learned from pairs; pass their partners as --pair")
    fingerprint = one_fingerprint(found, encoder)
    first, second = found[0], found[1] if len(found) > 1 else None
    if pair_modality is not None and second is None:
        raise C3AlignError("--pair-modality names partners, and there are none; pass them as --pair, or use --modality")
    names = {"modality": modality or found[0].modality or "text"}
    names["y_modality"] = pair_modality or (second and found[1].modality) or "image"
    _check_alike(first)
    told = ""
    if second is not None:
        (first, second), told = joined((first, second), on)
    elif on is not None:
        raise C3AlignError(f"--on {on} joins two sides, and there is one; pass the other as --pair")
    asked = {**names, **how, "on": on, "settings": repr(sorted(aligner.get_params().items())), "on_error": on_error}
    asked |= {"shards": [list(source.paths) for source in found]}
    kept = Checkpoint(atomic.local_path(checkpoint or _beside(output, "checkpoint")), asked)
    where = Device.named(device)
    learning = Learning(aligner, first, second, kept, rules(on_error, changed, zero_rows), where)
    with atomic.alone(kept.path):
        learning.run(**names)
        if fingerprint:
            aligner.bind_encoder(fingerprint)
        save_aligner(aligner, output)
        dropped = list_dropped(_beside(output, "dropped.jsonl"), learning.dropped)
        kept.remove()
    told = (f"\n{told}" if told else "") + dropped + (where.limit() if where else "")
    say(output, f"{output}: {_summary(aligner)}{told}")


def _beside(output: Path, ending: str) -> Path:
    """A file beside the output; where that is called "." or "..", the folder's own name is looked up."""
    place = Path(atomic.expanded(output))
    place = Path(os.path.abspath(place)) if place.name in ("", "..") else place
    return place.parent / f"{place.name}.{ending}"


def _check_place(output: Path, given: list[str], found: list[RowSource]) -> None:
    """An aligner among rows would be read as rows the next time."""
    paths = [path for source in found for path in source.paths if not is_url(path)]
    places = {os.path.dirname(os.path.realpath(path)) for path in paths} | {os.path.realpath(base_of(given))}
    folder = atomic.local_path(output)
    if os.path.realpath(folder) in places:
        raise C3AlignError(f"{output} is where the rows are; pass another folder as --output")
    others = [path.name for path in sorted(folder.glob("[!.]*")) if path.suffix in _ROWS_ALONE and path.is_file()]
    if others:
        raise C3AlignError(f"{output} holds rows, {printable(others[0])}; pass another folder as --output")


def _check_once(source: RowSource) -> None:
    times = Counter(path if is_url(path) else os.path.realpath(path) for path in source.paths)
    twice = next((path for path, n in times.items() if n > 1), None)
    if twice is not None:
        raise C3AlignError(f"{twice} is given twice, and its rows would count twice; name it once")


def _check_alike(source: RowSource) -> None:
    """Files of one modality that lie as far apart as two modalities do are told of: `--pair` was forgotten, perhaps."""
    from c3align import C3Aligner

    samples = [part[:GLANCE_ROWS] for part in source.parts[:GLANCE_FILES]]
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
    text = f"{learned(aligner)} of {aligner.n_features_in_} dimensions, sigma {aligner.sigma_:.4f}"
    return f"{text}\n{aligner.gap(*next(iter(aligner.pairs_)))}" if aligner.pairs_ else text
