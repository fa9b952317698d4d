"""Folders of pipelines: the spec of the encoder, its fingerprint, the decoder's name."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

from tests.attacks import attack, captioners, encoders, honest, kept


@cache
def built() -> Path:
    return honest.pipeline(kept())


def pipeline(folder: Path, spec: str | None = None, fingerprint: str | None = None, **values) -> Path:
    """A pipeline with another encoder, its aligner bound to the fingerprint that it states, or with other values."""
    given = folder / "pipeline"
    shutil.copytree(built(), given)
    path = given / "pipeline.json"
    found = {**json.loads(path.read_text()), **values}
    if spec is not None:
        found["encoder"]["spec"] = spec
    if fingerprint is not None:
        found["encoder"]["fingerprint"] = fingerprint
        honest.learned(256).bind_encoder(fingerprint).save_pretrained(given / "aligner")
    path.write_text(json.dumps(found))
    return given


def of(folder: Path, build, kind: str) -> Path:
    """A pipeline whose encoder is a hostile folder, with a fingerprint that fits its name."""
    spec = build(folder).read_text()
    return pipeline(folder, spec, f"{kind}/0123456789ab/24d/01234567")


@attack("pipeline", "module class 'evil.Evil' is not among")
def names_a_class_of_a_file_beside_it(folder: Path) -> Path:
    """The encoder's modules.json names a class of a file beside it, which sentence-transformers 5 runs."""
    return of(folder, encoders.lists_a_class_of_a_file_beside_it, "sentence-transformers:local")


@attack("pipeline", "'auto_map' names code")
def names_a_model_class_of_a_file_beside_it(folder: Path) -> Path:
    """The encoder's config.json names a class of a file beside it."""
    return of(folder, encoders.names_a_model_class_of_a_file_beside_it, "transformers:local")


@attack("pipeline", "no weights in safetensors")
def has_an_encoder_of_pickles(folder: Path) -> Path:
    """The encoder is a folder of open_clip with a pickle."""
    return of(folder, encoders.has_a_pickle_that_open_clip_prefers, "open_clip:local-dir")


@attack("pipeline", "has a fingerprint that begins 'transformers:local/'")
def states_another_encoder_than_it_names(folder: Path) -> Path:
    """The fingerprint is that of the embedded encoder, and the spec names a folder: refused before it is opened."""
    model = encoders.copied("clip", folder)
    (model / "config.json").write_text("{")
    return pipeline(folder, f"transformers:{model}")


@attack("pipeline", "has a fingerprint that begins 'c3align:glyphs/")
def states_other_weights_of_the_embedded_encoder(folder: Path) -> Path:
    """The embedded encoder with the digest of other weights."""
    return pipeline(folder, "glyphs", "c3align:glyphs/0123456789ab/256d/32x32 grey, words and letter groups")


@attack("pipeline", "comes from the encoder transformers:local/0123456789ab/24d/01234567 and not from")
def states_other_weights(folder: Path) -> Path:
    """An honest folder of another encoder under the name that the fingerprint says."""
    return of(folder, lambda at: encoders.spec(at, f"transformers:{encoders.copied('clip', at)}"),
              "transformers:local")  # fmt: skip


@attack("pipeline", "is unknown; pass one of")
def names_a_module_of_python(folder: Path) -> Path:
    """The spec is no encoder but a module and a function."""
    return pipeline(folder, "subprocess:call", "subprocess:call")


@attack("pipeline", "its encoder is")
def names_an_encoder_in_two_lines(folder: Path) -> Path:
    """A spec with a line break and an escape sequence."""
    return pipeline(folder, "glyphs\n\x1b[2J")


@attack("pipeline", "its encoder is")
def names_an_encoder_of_a_megabyte(folder: Path) -> Path:
    """A spec that is half a megabyte long."""
    return pipeline(folder, "transformers:" + "a" * (1 << 19))


@attack("pipeline", "keys or its decoder 'Pipeline' are unknown")
def names_a_decoder_that_is_none(folder: Path) -> Path:
    """A decoder that is another class of the library."""
    return pipeline(folder, decoder="Pipeline")


@attack("pipeline", "is unknown|are unknown")
def names_a_decoder_by_a_path(folder: Path) -> Path:
    """A decoder by a dotted path."""
    return pipeline(folder, decoder="os.system")


@attack("pipeline", "'auto_map' names code")
def has_a_captioner_with_code(folder: Path) -> Path:
    """The decoder is a captioner whose language model names code."""
    given = pipeline(folder, decoder="PrefixCaptioner")
    shutil.rmtree(given / "decoder")
    captioners.names_a_language_model_of_a_file_beside_it(folder).rename(given / "decoder")
    return given
