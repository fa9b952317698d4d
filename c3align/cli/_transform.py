"""`c3align transform`, `corrupt` and `translate`: rows in files, changed by a saved aligner.

One file becomes one file; a folder or several files become a folder in the same layout, which a rerun compares with its
digests and goes on with.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from c3align import centering
from c3align.cli._app import (
    AlignerFolder,
    Changed,
    Column,
    OnDevice,
    OnError,
    Output,
    Rows,
    Scale,
    app,
    one_fingerprint,
    rows_bar,
    rules,
    say,
    tell,
    tell_of_changed,
)
from c3align.cli._learning import list_dropped, touched
from c3align.cli._means import looked_at, mean_of
from c3align.errors import C3AlignError, ModalityMeanWarning, counted, printable
from c3align.io import atomic
from c3align.io.device import Device
from c3align.io.mirror import Changing, Mirror, Rules
from c3align.io.opening import is_url
from c3align.io.patterns import FILES
from c3align.io.rows import RowSource
from c3align.io.shards import open_sources

Modality = Annotated[str, typer.Option(help="What they are; 'auto' finds out, 'batch' takes their mean.")]
Encoder = Annotated[str | None, typer.Option(help="Fingerprint of the rows' encoder; another one is refused.")]
Seed = Annotated[int | None, typer.Option(help="Of the noise; the aligner's own by default.")]


@dataclass(frozen=True)
class Job:
    """A command on one source: what becomes of rows, and what the result depends on."""

    command: str
    source: RowSource
    given: list[str]
    output: Path
    aligner: Any
    change: Callable[[Any, int, Any], Any]  # of rows, the number of the first, and the numbers of all if not in order
    options: dict[str, Any]
    rules: Rules
    told: str = field(default="")
    device: Device | None = None

    def run(self) -> None:
        """Write one file, or a folder of them, and say so."""
        self._check_place()
        n_dropped, begin, end = self._write_folder() if self._is_folder() else (self._write_file(), "", "")
        text = f"{counted(self.source.n_rows - n_dropped, 'row')}{'' if begin else self.told}"
        text += f"; {n_dropped} could not be used" if n_dropped else ""
        limit = self.device.limit() if self.device else ""
        say(self.output, f"{self.output}: {begin}{text}{end}{limit}")

    def _check_place(self) -> None:
        """Rows are never written over, and what a file holds is what its name says."""
        if atomic.is_special(self.output):
            return
        place = os.path.realpath(atomic.local_path(self.output))
        if any(os.path.realpath(path) == place for path in self.source.paths if not is_url(path)):
            raise C3AlignError(f"{self.output} is where the rows are; pass another name as --output")
        if not self._is_folder() and atomic.local_path(self.output).is_dir():
            name = os.path.basename(self.source.paths[0])
            raise C3AlignError(f"{self.output} is a folder, and one file becomes one file; pass {self.output / name}")
        if not self._is_folder() and self.output.suffix not in (*FILES, ""):
            raise C3AlignError(f"{self.output} must end in {', '.join(FILES[:-1])} or {FILES[-1]}; pass another name")

    def _is_folder(self) -> bool:
        """One file is written of one file, and where a name of a file is asked for."""
        if atomic.is_special(self.output) or self.output.suffix in FILES:
            return False
        first = self.given[0]
        if is_url(first):  # a URL that names no file of rows stands for the folder that they are in
            return len(self.source.paths) > 1 or Path(first.partition("#")[0]).suffix not in FILES
        return len(self.source.paths) > 1 or Path(atomic.expanded(first)).is_dir()

    def _write_folder(self) -> tuple[int, str, str]:
        """How many rows were dropped, and what there is to say before and behind the number of the others."""
        learned = hashlib.sha256(self.aligner.to_bytes()).hexdigest()
        asked = {"command": self.command, "aligner": learned, **self.options}
        folder, encoder = atomic.local_path(self.output), self.source.fingerprint
        with atomic.made(folder), atomic.alone(folder), rows_bar(self.source, self.command) as done:
            mirror = Mirror.of(self.source, self.given, folder, asked, self.change, self.rules, self.device)
            n_written, journal = mirror.write(done), mirror.journal
            n_dropped = mirror.finish(encoder and f"{encoder} after {self.command} by {learned[:12]}")
            others = mirror.others()
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            beside = f"{printable(others[0])}{more} of another time"
            tell("note", f"{self.output} holds {beside}, which its readers read too")
        end = touched(journal.n_touched)
        if journal.n_damaged:
            end += f"; {counted(journal.n_damaged, 'damaged or absent file')} written again"
        if journal.n_gone:
            end += f"; {counted(journal.n_gone, 'file')} of gone rows removed"
        if n_written or journal.n_gone:
            return n_dropped, "", end
        files = counted(len(mirror.names), "file")
        return n_dropped, "already complete: ", f" in {files}, the same as were written{end}"

    def _write_file(self) -> int:
        parts, before = self.source.parts, self.output.is_file()
        folder = Path() if atomic.is_special(self.output) else atomic.local_path(self.output).parent
        with atomic.made(folder), rows_bar(self.source, self.command) as done:
            changing = Changing.of(self.source, 0, self.source.n_rows, self.change, self.rules, done, self.device)
            changing.write(self.output, parts[0] if len(parts) == 1 else None)
        if self.rules.skip and not atomic.is_special(self.output):
            list_dropped(self.output.with_name(f"{self.output.name}.dropped.jsonl"), changing.places())
        if before:
            tell("note", f"{self.output} was there before, and was replaced")
        return len(changing.dropped)


@app.command(epilog="Examples:  c3align transform emb -a al -o aligned   |   c3align transform x.npy -a al -o z.npy")
def transform(
    rows: Rows,
    aligner: AlignerFolder,
    output: Output,
    modality: Modality = "auto",
    encoder: Encoder = None,
    column: Column = None,
    scale: Scale = None,
    on_error: OnError = "raise",
    changed: Changed = "raise",
    device: OnDevice = None,
) -> None:
    """Align rows with a saved aligner: a file, or a folder in the same layout.

    Rerun to resume: the files that are there are read and compared with their digests, and what is left is done.
    """
    policies, where = (on_error, changed), Device.named(device)
    for source, fitted, policy in _opened(rows, output, aligner, encoder, modality, column, scale, policies):
        fitted, name, told = mean_of(fitted, source, modality, policy, where)

        def change(block: Any, first: int, numbers: Any, fitted: Any = fitted, name: str = name) -> Any:
            return fitted.transform(block, modality=name)

        asked = {"modality": name, "column": column, "scale": scale}
        Job("transform", source, rows, output, fitted, _quiet(change), asked, policy, told, where).run()


@app.command(epilog="Example:  c3align corrupt text.npy -a aligner --modality text -o noisy.npy")
def corrupt(
    rows: Rows,
    aligner: AlignerFolder,
    output: Output,
    modality: Modality = "auto",
    seed: Seed = None,
    encoder: Encoder = None,
    column: Column = None,
    scale: Scale = None,
    on_error: OnError = "raise",
    changed: Changed = "raise",
    device: OnDevice = None,
) -> None:
    """Align rows and add noise, the same for a row however the rows are split into files.

    Rerun to resume: the files that are there are read and compared with their digests, and what is left is done.
    """
    policies, where = (on_error, changed), Device.named(device)
    for source, fitted, policy in _opened(rows, output, aligner, encoder, modality, column, scale, policies):
        fitted, name, told = mean_of(fitted, source, modality, policy, where)

        def change(block: Any, first: int, numbers: Any, fitted: Any = fitted, name: str = name) -> Any:
            place = {"row_offset": first} if numbers is None else {"row_ids": numbers}
            return fitted.corrupt(block, modality=name, seed=seed, **place)

        asked = {"modality": name, "column": column, "scale": scale, "seed": seed}
        told += f", with noise of sigma {fitted.sigma_:.4f}"
        Job("corrupt", source, rows, output, fitted, _quiet(change), asked, policy, told, where).run()


@app.command(epilog="Example:  c3align translate text.npy -a aligner --from text --to image -o as-image.npy")
def translate(
    rows: Rows,
    aligner: AlignerFolder,
    output: Output,
    to: Annotated[str, typer.Option("--to", help="The modality where a decoder of raw rows expects them.")],
    origin: Annotated[str | None, typer.Option("--from", help="What they are; the folder's own by default.")] = None,
    encoder: Encoder = None,
    column: Column = None,
    scale: Scale = None,
    on_error: OnError = "raise",
    changed: Changed = "raise",
    device: OnDevice = None,
) -> None:
    """Move rows of one modality to where those of another one are.

    Rerun to resume: the files that are there are read and compared with their digests, and what is left is done.
    """
    policies, where = (on_error, changed), Device.named(device)
    for source, fitted, policy in _opened(rows, output, aligner, encoder, origin, column, scale, policies):
        name = origin or source.modality
        if name is None:
            raise C3AlignError("these rows do not say what they are; pass their modality as --from")

        def change(block: Any, first: int, numbers: Any, fitted: Any = fitted, name: str = name) -> Any:
            return fitted.translate(block, source=name, target=to)

        asked = {"from": name, "to": to, "column": column, "scale": scale}
        told = f", from {name!r} to {to!r}"
        looked_at(fitted, source, name, policy)
        Job("translate", source, rows, output, fitted, _quiet(change), asked, policy, told, where).run()


def _opened(
    rows: list[str],
    output: Path,
    folder: Path,
    encoder: str | None,
    modality: str | None,
    column: Any,
    scale: Any,
    policy: tuple[str, str],
) -> Iterator[tuple[RowSource, Any, Rules]]:
    """The rows of each modality, the aligner, and what becomes of rows that cannot be used."""
    from c3align import C3Aligner

    place = os.path.realpath(atomic.expanded(output)) if not atomic.is_special(output) else ""
    if os.path.realpath(folder) in (place, os.path.dirname(place)):
        raise C3AlignError(f"{output} is where the aligner is; pass another name as --output")
    found = open_sources(rows, column=column, scale=scale)
    if len(found) > 1 and modality not in (None, "auto", centering.BATCH):
        raise C3AlignError(f"{rows[0]} holds several modalities; omit the name of one, or pass one of its folders")
    if len(found) > 1 and (output.suffix in FILES or atomic.is_special(output)):
        raise C3AlignError(f"{rows[0]} holds several modalities; pass the name of a folder as -o, got {output}")
    if len(found) > 1 and policy[0] == "skip":
        raise C3AlignError(
            f"{rows[0]} holds several modalities, and of a row that is skipped the partner would stay; pass one of its "
            "folders, or omit --on-error"
        )
    tell_of_changed(rows)
    fitted = C3Aligner.from_pretrained(folder, encoder=one_fingerprint(found, encoder))
    for source in found:
        if not source.n_rows:
            raise C3AlignError(f"{source.where(0)} holds no rows; pass some")
        if source.n_dims != fitted.n_features_in_:
            raise C3AlignError(
                f"the rows have {source.n_dims} dimensions and the aligner {fitted.n_features_in_}; use rows of its "
                "encoder"
            )
        yield source, fitted, rules(*policy, fitted.zero_rows)


def _quiet(change: Callable[[Any, int, Any], Any]) -> Callable[[Any, int, Any], Any]:
    """Without warnings about a block: the whole of the rows was looked at."""

    def quiet(block: Any, first: int, numbers: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModalityMeanWarning)
            return change(block, first, numbers)

    return quiet
