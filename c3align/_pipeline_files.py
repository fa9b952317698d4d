"""A pipeline on disk: one folder with `pipeline.json`, `aligner/` and `decoder/`, which appears whole or not at all."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3align import decoders, encoders
from c3align._version import __version__
from c3align.aligner import C3Aligner
from c3align.errors import C3AlignError, EncoderMismatchError, FormatError, NoDigestWarning
from c3align.io import atomic, container, digests, hub

if TYPE_CHECKING:
    from c3align.pipeline import Pipeline

FORMAT, FORMAT_VERSION = "c3align.Pipeline", 2
PIPELINE_FILE = "pipeline.json"
MAX_SPEC = 4096  # characters
DECODERS = ("EmbeddingGenerator", "MemoryCaptioner", "PrefixCaptioner")
_KEYS = {"format", "format_version", "written_by", "encoder", "decoder"}  # of version 1


def save(pipeline: Pipeline, folder: str | os.PathLike[str]) -> None:
    """Write a pipeline beside `folder` and put it in its place; see `Pipeline.save_pretrained`."""
    if not getattr(pipeline.aligner, "statistics_", None):
        raise C3AlignError("this pipeline has learned nothing yet; call fit_text or fit_images first")
    kind = type(pipeline.decoder).__name__
    if kind not in DECODERS or getattr(decoders, kind) is not type(pipeline.decoder):
        raise C3AlignError(f"a {kind} cannot be saved with a pipeline; save its parts yourself")
    with atomic.replaced_folder(folder, "pipeline", _is_ours) as scratch:
        pipeline.aligner.save_pretrained(scratch / "aligner")
        pipeline.decoder.save_pretrained(scratch / "decoder")
        config = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "written_by": f"c3align {__version__}",
            "encoder": {"spec": pipeline.spec, "fingerprint": pipeline.encoder.fingerprint},
            "decoder": kind,
            "parts": _parts(scratch),
        }
        (scratch / PIPELINE_FILE).write_bytes(container.signed_json(config))


def check_place(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that a pipeline cannot replace, before anything is learned for it."""
    with suppress(InterruptedError), atomic.replaced_folder(folder, "pipeline", _is_ours):
        raise InterruptedError  # nothing takes its place


def _is_ours(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir()}
    return PIPELINE_FILE in names and names <= {PIPELINE_FILE, "aligner", "decoder", ".DS_Store"}


def _parts(folder: Path) -> dict[str, str]:
    """The digests of the files that hold the digests of all others."""
    paths = sorted(path for part in ("aligner", "decoder") for path in (folder / part).glob("*.safetensors"))
    return {path.relative_to(folder).as_posix(): digests.of_file(path) for path in paths}


def load(cls: type[Pipeline], folder: str | os.PathLike[str], encoder: Any, **options: Any) -> Pipeline:
    """Read a pipeline that `save` wrote; see `Pipeline.from_pretrained`."""
    path = hub.folder(folder, hub.PIPELINE, **options)
    config = _read(path / PIPELINE_FILE)
    chosen = config["encoder"]["spec"] if encoder is None else encoder
    if chosen is None:
        raise C3AlignError(
            f"{folder} was saved with an encoder that has no spec; pass encoder=, the one with the fingerprint "
            f"{config['encoder']['fingerprint']}"
        )
    if encoder is None:
        encoders.check_claim(chosen, config["encoder"]["fingerprint"])
    with warnings.catch_warnings():
        if config["format_version"] == 1:
            digests.warn_of_no_digest("pipeline")
            warnings.simplefilter("ignore", NoDigestWarning)  # once for all parts
        aligner = C3Aligner.from_pretrained(path / "aligner", encoder=config["encoder"]["fingerprint"])
        decoder = getattr(decoders, config["decoder"]).from_pretrained(path / "decoder")
    try:
        return cls(chosen, aligner, decoder)
    except EncoderMismatchError as error:
        raise EncoderMismatchError(f"{folder}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FormatError(f"{path.parent} is no pipeline (no {PIPELINE_FILE} in it); pass a folder of save_pretrained")
    content = container.read_bytes(path, "pipeline")
    config = container.parse_json(content, "pipeline", PIPELINE_FILE)
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise _refusal(path, f"its format is not {FORMAT}")
    version = config.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise FormatError(
            f"{path} has format version {version!r} and this c3align {__version__} reads "
            f"up to {FORMAT_VERSION}; install the c3align that wrote it ({config.get('written_by')!r}) or a newer one"
        )
    encoder, keys = config.get("encoder"), _KEYS if version == 1 else {*_KEYS, "parts", container.DIGEST}
    if set(config) != keys or config["decoder"] not in DECODERS:
        raise _refusal(path, f"its keys or its decoder {config.get('decoder')!r} are unknown")
    if not isinstance(encoder, dict) or set(encoder) != {"spec", "fingerprint"}:
        raise _refusal(path, "its encoder is not described")
    fingerprint, spec = encoder["fingerprint"], encoder["spec"]
    if not isinstance(fingerprint, str) or not isinstance(spec, str | None):
        raise _refusal(path, "its encoder is not described by texts")
    if spec is not None and (len(spec) > MAX_SPEC or not spec.isprintable()):
        raise _refusal(path, f"its encoder is {spec[:MAX_SPEC]!r}")
    if version > 1 and container.signed_json(config) != content:
        raise _refusal(path, "the digest is that of other content")
    if version > 1 and config["parts"] != _parts(path.parent):
        raise _refusal(path, "the digests are those of another aligner or decoder")
    return config


def _refusal(path: Path, reason: str) -> FormatError:
    return container.refusal("pipeline", f"in {path} {reason}")
