"""`c3align check`: do embeddings still fit an aligner? A verdict for people, as JSON, and as an exit code for CI."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from c3align import ops
from c3align.cli._app import (
    AlignerFolder,
    AsJson,
    Column,
    Fingerprint,
    OnError,
    Rows,
    Scale,
    app,
    fitting,
    numbers,
    one_fingerprint,
    print_json,
    rules,
)
from c3align.errors import C3AlignError
from c3align.io.mirror import Rules, bad_rows
from c3align.io.rows import RowSource
from c3align.io.shards import open_sources

FAILED = 3  # the exit code of a check that found something
KINDS = ("drift", "encoder", "gap")
SAMPLE_ROWS = 4096
MOST_OF_THE_GAP = 0.5


@app.command(
    epilog="Examples:  c3align check emb/ -a aligner --fail-on drift,encoder   |   c3align check new.npy -a aligner"
    " --modality image --json"
)
def check(
    context: typer.Context,
    rows: Rows,
    aligner: AlignerFolder,
    fail_on: Annotated[
        str, typer.Option(help="What makes the exit code 3, with commas; what is named here must be measured.")
    ] = "drift,encoder,gap",
    modality: Annotated[str | None, typer.Option(help="What the rows are, unless their folder says.")] = None,
    encoder: Fingerprint = None,
    column: Column = None,
    scale: Scale = None,
    groups: Annotated[
        Path | None, typer.Option(help="Each row's item, integers in a .npy file: five captions of one picture, say.")
    ] = None,
    on_error: OnError = "raise",
    as_json: AsJson = False,
) -> None:
    """Check that embeddings still are what an aligner has learned: distribution, encoder, and size of the gap.

    Drift is measured against rows that c3align fit --second-moments has kept; without them pass --fail-on encoder,gap.

    Exit codes: 0 nothing of --fail-on was found, 3 something was, 2 wrong input.
    """
    from c3align import C3Aligner

    wanted = [name.strip() for name in fail_on.split(",") if name.strip()]
    for name in wanted or [fail_on]:
        if name not in KINDS:
            raise C3AlignError(f"--fail-on must be some of {', '.join(KINDS)}, got {name!r}; join them by commas")
    fitted = C3Aligner.from_pretrained(aligner)
    policy, found = rules(on_error, "raise", fitted.zero_rows), {}
    sources = open_sources(rows, column=column, scale=scale)
    if len(sources) > 1 and (modality, groups) != (None, None):
        option = "--groups" if modality is None else "--modality"
        raise C3AlignError(f"{rows[0]} holds several modalities; omit {option}, or pass one of its folders")
    about = numbers(groups)
    for source in sources:
        name, own = _modality(source, modality, fitted), one_fingerprint([source], encoder)
        sample, items = _sample(source, policy, about)
        found[name] = _checked(fitted, sample, items, name, own, "drift" in wanted)
    if context.get_parameter_source("fail_on").name != "DEFAULT":  # type: ignore[union-attr]
        _check_measured(found, wanted)
    failed = [kind for kind in KINDS if kind in wanted and any(checks[kind]["failed"] for checks in found.values())]
    if as_json:
        print_json({"passed": not failed, "failed": failed, "fail_on": wanted, "modalities": found})
    else:
        for name, checks in found.items():
            for kind in KINDS:
                verdict = "FAILED" if checks[kind]["failed"] else "skipped" if checks[kind]["skipped"] else "ok"
                print(fitting(f"{verdict:7} {name}: {kind}: {checks[kind]['text']}"))
    if failed:
        raise typer.Exit(FAILED)


def _check_measured(found: dict[str, Any], wanted: list[str]) -> None:
    """A check that was asked for by name may not pass unseen."""
    for name, checks in found.items():
        for kind in wanted:
            if checks[kind]["skipped"]:
                reason, _, fix = checks[kind]["text"].removesuffix(")").rpartition(" (")
                raise C3AlignError(f"--fail-on names {kind}, and that of {name} was {reason}; {fix}")


def _sample(source: RowSource, policy: Rules, about: Any) -> tuple[Any, Any]:
    """Some rows, and what they are about; without those that are to be skipped, and kept zeros, which teach nothing."""
    if not source.n_rows:
        raise C3AlignError(f"{source.where(0)} holds no rows; pass some")
    if about is not None and len(about) != source.n_rows:
        raise C3AlignError(f"--groups must be one integer for each of {source.n_rows} rows, got {len(about)}")
    if source.watch is not None:
        for path in source.paths:
            source.watch.compare(path)
    places = source.spread(SAMPLE_ROWS)
    sample = source.take(places)
    is_out = bad_rows(sample, policy.zeros_too) if policy.skip else np.zeros(len(sample), bool)
    if not policy.zeros_too:
        is_out |= ~sample.any(axis=1)
    if is_out.all():
        raise C3AlignError(f"no row of {source.paths[0]} could be used; look at the first of them")
    return sample[~is_out], None if about is None else about[places[~is_out]]


def _modality(source: RowSource, given: str | None, fitted: Any) -> str:
    names = list(fitted.statistics_)
    name = given or source.modality or (names[0] if len(names) == 1 else None)
    if name not in names:
        known = ", ".join(map(repr, names))
        raise C3AlignError(f"--modality must be a fitted one ({known}), got {name!r}; name what the rows are")
    return str(name)


def _checked(
    fitted: Any, sample: Any, about: Any, name: str, fingerprint: str | None, needs_drift: bool
) -> dict[str, Any]:
    """Drift, encoder and gap, each with what was measured, a sentence and whether it failed."""
    from c3align.drift import drift

    if sample.shape[1] != fitted.n_features_in_:
        text = f"the rows have {sample.shape[1]} dimensions and the aligner {fitted.n_features_in_}; use its encoder's"
        raise C3AlignError(text)
    checks = {"encoder": _encoder(fitted, sample, name, fingerprint), "gap": _gap(fitted, sample, name)}
    if not needs_drift and name not in fitted.state_.samples:
        return {
            "drift": {
                "failed": False,
                "skipped": True,
                "text": "not measured: the aligner has kept no rows (fit it with --second-moments)",
            },
            **checks,
        }
    found = drift(fitted, sample, modality=name, groups=about)
    return {"drift": {"failed": found.is_drift, "skipped": False, "text": str(found), **asdict(found)}, **checks}


def _encoder(fitted: Any, sample: Any, name: str, fingerprint: str | None) -> dict[str, Any]:
    from c3align import geometry

    own, kept = fitted.encoder_fingerprint_, fitted.state_.samples.get(name)
    overlap, may_be_one = (None, True) if kept is None else geometry.one_encoder(sample, kept.rows, paired=False)
    is_other = None not in (own, fingerprint) and own != fingerprint
    if own is None:
        text = "not compared by name: the aligner names none (fit it with --encoder)"
    elif fingerprint is None:
        text = f"not compared by name: the aligner's is {own}, and these rows name none (pass --encoder)"
    else:
        text = f"the rows are of {fingerprint}, the aligner's of {own}" if is_other else f"that of the aligner, {own}"
    if overlap is not None:
        looks = "like the fitted ones" if may_be_one else "like those of another encoder"
        text += f"; the rows look {looks} (overlap {overlap:.1f}; of two encoders about 1)"
    return {
        "failed": is_other or not may_be_one,
        "skipped": overlap is None and None in (own, fingerprint),
        "text": text,
        "fingerprint": fingerprint,
        "overlap": overlap,
    }


def _gap(fitted: Any, sample: Any, name: str) -> dict[str, Any]:
    """How far the rows' mean lies from the fitted one, less what chance explains, as a share of the gap."""
    others = [found.mean for other, found in fitted.statistics_.items() if other != name]
    if not others:
        text = "not measured: the aligner knows one modality (fit it with partners, as --pair)"
        return {"failed": False, "skipped": True, "text": text, "share": None}
    known, unit = fitted.statistics_[name], ops.normalize(np.asarray(sample, np.float64))
    chance = float(unit.var(axis=0).sum()) / len(unit) + float(known.variance.sum()) / known.n_rows
    away = math.sqrt(max(0.0, float(((unit.mean(axis=0) - known.mean) ** 2).sum()) - chance))
    gap = min(math.dist(known.mean, other) for other in others)
    share = away / gap if gap else math.inf
    text = (
        f"the mean of these rows lies {share:.0%} of the gap ({gap:.3f}) away from the fitted one; at most "
        f"{MOST_OF_THE_GAP:.0%} passes"
    )
    return {"failed": share > MOST_OF_THE_GAP, "skipped": False, "text": text, "share": share, "gap": gap}
