"""Folders of several files: one of them exchanged, planted, linked, or taken away."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.attacks import attack, honest
from tests.attacks.captioners import trained
from tests.attacks.pipelines import built


def captioner(folder: Path, change) -> Path:
    shutil.copytree(trained("full"), folder / "captioner")
    change(folder / "captioner")
    return folder / "captioner"


def memory(folder: Path, change) -> Path:
    given = honest.memory(folder)
    change(given)
    return given


def pipeline(folder: Path, change) -> Path:
    shutil.copytree(built(), folder / "pipeline")
    change(folder / "pipeline")
    return folder / "pipeline"


def flipped(name: str):
    """One bit in the middle of a file."""

    def flip(given: Path) -> None:
        content = bytearray((given / name).read_bytes())
        content[len(content) // 2] ^= 1
        (given / name).write_bytes(content)

    return flip


@attack("captioner", r"lm/model\.safetensors' is damaged", signs=False)
def has_another_weight_in_its_language_model(folder: Path) -> Path:
    """One bit of a weight that transformers reads."""
    return captioner(folder, flipped("lm/model.safetensors"))


@attack("captioner", r"lm/tokenizer\.json' is damaged", signs=False)
def has_other_words(folder: Path) -> Path:
    """One bit of the vocabulary."""
    return captioner(folder, flipped("lm/tokenizer.json"))


@attack("captioner", r"lm/adapter_config\.json' does not belong to it; remove it", signs=False)
def plants_an_adapter(folder: Path) -> Path:
    """A file that transformers would read if it were there."""
    return captioner(folder, lambda given: (given / "lm" / "adapter_config.json").write_text("{}"))


@attack("captioner", "link' does not belong to it", signs=False)
def plants_a_link_to_a_folder(folder: Path) -> Path:
    """A link in the place of a folder of files."""
    return captioner(folder, lambda given: (given / "lm" / "link").symlink_to("/etc"))


@attack("captioner", r"lm/generation_config\.json' is absent", signs=False)
def lacks_a_setting_of_generation(folder: Path) -> Path:
    """A file whose absence the library takes for its default."""
    return captioner(folder, lambda given: (given / "lm" / "generation_config.json").unlink())


@attack("captioner", "does not say which files belong to it|is damaged", signs=False)
def has_a_captioner_of_the_version_before(folder: Path) -> Path:
    """`format_version` 1, of which no files are compared."""

    def older(given: Path) -> None:
        path = given / "captioner.safetensors"
        path.write_bytes(path.read_bytes().replace(b'format_version\\": 2', b'format_version\\": 1'))
        (given / "config.json").unlink()

    return captioner(folder, older)


@attack("memory", r"memory/memory\.npy' is damaged", signs=False)
def has_another_row(folder: Path) -> Path:
    """One bit of the memory."""
    return memory(folder, flipped("memory/memory.npy"))


@attack("memory", r"memory/captions\.jsonl' is damaged", signs=False)
def says_something_else(folder: Path) -> Path:
    """Captions in another order."""

    def reversed_lines(given: Path) -> None:
        path = given / "memory" / "captions.jsonl"
        path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))

    return memory(folder, reversed_lines)


@attack("memory", "evil.npy' does not belong to it", signs=False)
def plants_a_file_without_end(folder: Path) -> Path:
    """A link to a device, which would be read forever."""
    return memory(folder, lambda given: (given / "memory" / "evil.npy").symlink_to("/dev/zero"))


@attack("memory", "is damaged, or another file", signs=False)
def has_rows_without_end(folder: Path) -> Path:
    """The rows are a link to a device."""

    def linked(given: Path) -> None:
        (given / "memory" / "memory.npy").unlink()
        (given / "memory" / "memory.npy").symlink_to("/dev/zero")

    return memory(folder, linked)


@attack("generator", "it is damaged", signs=False)
def draws_something_else(folder: Path) -> Path:
    """One bit of a generator's weights."""
    given = honest.generator(folder)
    flipped("generator.safetensors")(given)
    return given


@attack("pipeline", "the digests are those of another aligner or decoder", signs=False)
def has_the_aligner_of_another_pipeline(folder: Path) -> Path:
    """Whole parts that do not belong together."""
    return pipeline(folder, lambda given: honest.learned(256).save_pretrained(given / "aligner"))


@attack("pipeline", "the digests are those of another aligner or decoder", signs=False)
def has_the_decoder_of_another_pipeline(folder: Path) -> Path:
    """A memory of its own."""

    def exchanged(given: Path) -> None:
        shutil.rmtree(given / "decoder")
        shutil.copytree(honest.memory(folder), given / "decoder")

    return pipeline(folder, exchanged)


@attack("pipeline", "the digest is that of other content", signs=False)
def was_written_by_somebody_else(folder: Path) -> Path:
    """pipeline.json was edited."""

    def edited(given: Path) -> None:
        path = given / "pipeline.json"
        path.write_text(path.read_text().replace('"written_by": "c3align', '"written_by": "c4align'))

    return pipeline(folder, edited)


@attack("pipeline", r"captions\.jsonl' is damaged", signs=False)
def says_something_else_in_its_memory(folder: Path) -> Path:
    """One bit of a caption, three folders deep."""
    return pipeline(folder, flipped("decoder/memory/captions.jsonl"))
