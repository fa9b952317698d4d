"""A pipeline on disk: one folder with `pipeline.json`, `aligner/` and `decoder/`, which appears whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3align import decoders, encoders
from c3align._version import __version__
from c3align.aligner import C3Aligner
from c3align.errors import C3AlignError, EncoderMismatchError, FormatError
from c3align.io import atomic, container

if TYPE_CHECKING:
    from c3align.pipeline import Pipeline

__all__ = ["load", "save"]

FORMAT, FORMAT_VERSION = "c3align.Pipeline", 1
PIPELINE_FILE = "pipeline.json"
MAX_SPEC = 4096  # characters
DECODERS = ("EmbeddingGenerator", "MemoryCaptioner", "PrefixCaptioner")
_KEYS = {"format", "format_version", "written_by", "encoder", "decoder"}


def save(pipeline: Pipeline, folder: str | os.PathLike[str]) -> None:
    """Write a pipeline beside `folder` and put it in its place; see `Pipeline.save_pretrained`."""
    if not getattr(pipeline.aligner, "statistics_", None):
        raise C3AlignError("this pipeline has learned nothing yet; call fit_text or fit_images first")
    kind = type(pipeline.decoder).__name__
    if kind not in DECODERS or getattr(decoders, kind) is not type(pipeline.decoder):
        raise C3AlignError(f"a {kind} cannot be saved with a pipeline; save its parts yourself")
    with atomic.replaced_folder(folder, "pipeline", lambda found: (found / PIPELINE_FILE).is_file()) as scratch:
        pipeline.aligner.save_pretrained(scratch / "aligner")
        pipeline.decoder.save_pretrained(scratch / "decoder")
        (scratch / PIPELINE_FILE).write_text(json.dumps(_config(pipeline, kind), indent=2, sort_keys=True) + "\n")


def _config(pipeline: Pipeline, kind: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "written_by": f"c3align {__version__}",
        "encoder": {"spec": pipeline.spec, "fingerprint": pipeline.encoder.fingerprint},
        "decoder": kind,
    }


def load(cls: type[Pipeline], folder: str | os.PathLike[str], encoder: Any) -> Pipeline:
    """Read a pipeline that `save` wrote; see `Pipeline.from_pretrained`."""
    path = atomic.found(folder)
    config = _read(path / PIPELINE_FILE)
    chosen = config["encoder"]["spec"] if encoder is None else encoder
    if chosen is None:
        raise C3AlignError(
            f"{folder} was saved with an encoder that has no spec; pass encoder=, the one with the fingerprint "
            f"{config['encoder']['fingerprint']}"
        )
    if encoder is None:
        encoders.check_claim(chosen, config["encoder"]["fingerprint"])
    aligner = C3Aligner.from_pretrained(path / "aligner", encoder=config["encoder"]["fingerprint"])
    decoder = getattr(decoders, config["decoder"]).from_pretrained(path / "decoder")
    try:
        return cls(chosen, aligner, decoder)
    except EncoderMismatchError as error:
        raise EncoderMismatchError(f"{folder}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FormatError(f"{path.parent} is no pipeline (no {PIPELINE_FILE} in it); pass a folder of save_pretrained")
    config = container.read_json(path, "pipeline")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise _refusal(path, f"its format is not {FORMAT}")
    if config.get("format_version") != FORMAT_VERSION:
        raise FormatError(
            f"{path} has format version {config.get('format_version')!r} and this c3align {__version__} reads "
            f"{FORMAT_VERSION}; install the c3align that wrote it ({config.get('written_by')!r}) or a newer one"
        )
    encoder = config.get("encoder")
    if set(config) != _KEYS or config["decoder"] not in DECODERS:
        raise _refusal(path, f"its keys or its decoder {config.get('decoder')!r} are unknown")
    if not isinstance(encoder, dict) or set(encoder) != {"spec", "fingerprint"}:
        raise _refusal(path, "its encoder is not described")
    fingerprint, spec = encoder["fingerprint"], encoder["spec"]
    if not isinstance(fingerprint, str) or not isinstance(spec, str | None):
        raise _refusal(path, "its encoder is not described by texts")
    if spec is not None and (len(spec) > MAX_SPEC or not spec.isprintable()):
        raise _refusal(path, f"its encoder is {spec[:MAX_SPEC]!r}")
    return config


def _refusal(path: Path, reason: str) -> FormatError:
    return container.refusal("pipeline", f"in {path} {reason}")
