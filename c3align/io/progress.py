"""How far a run over many shards has come, so that one that was killed goes on where it was (promise P7).

A shard is recognized by its size, the time of its last change and the SHA-256 of some pieces. Where only the time has
changed, a `Journal` also compares the SHA-256 of the whole; a `Checkpoint`, which is rarely needed, does not, as that
would take as long as learning. A shard behind a URL is recognized by its size and by the version that its protocol
states.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from c3align.errors import C3AlignError
from c3align.io import atomic, container, digests, opening

__all__ = ["Checkpoint", "Journal", "fingerprint", "known_by"]

_PIECES, _PIECE = 16, 1 << 12
FORMAT = "c3align.progress"
_ELSEWHERE = "pass another folder as --output"  # for without its list a folder is one of files of another time


def fingerprint(part: Any) -> dict[str, Any]:
    """What tells a shard from what it was before."""
    if opening.is_url(part.path):
        return {"rows": len(part), "version": [str(told) for told in part.seen]}
    digest = hashlib.sha256()
    with opening.in_parts(part.path) as file:
        _check_unchanged(part, file)
        size, changed = os.fstat(file.fileno()).st_size, os.fstat(file.fileno()).st_mtime_ns
        for place in sorted({max(0, size - _PIECE) * i // (_PIECES - 1) for i in range(_PIECES)}):
            file.seek(place)
            digest.update(file.read(_PIECE))
    return {"rows": len(part), "size": size, "changed": changed, "pieces": digest.hexdigest()}


def known_by(part: Any, known: str | None = None) -> dict[str, Any]:
    """What tells a shard that was read from what it was before, were its time another one; `known` is its digest."""
    found = fingerprint(part)
    if opening.is_url(part.path):
        return found
    content = known or digests.of_file(part.path)
    with opening.in_parts(part.path) as file:
        _check_unchanged(part, file)
    return {**found, "content": content}


def _check_unchanged(part: Any, file: Any) -> None:
    if opening.identity(file) != part.seen:
        raise C3AlignError(f"{part.path} was changed while it was read; run this again when it is complete")


def _is_same(before: Any, now: Mapping[str, Any]) -> bool:
    """Whether a shard is what it was known by, but for its time perhaps."""
    return isinstance(before, dict) and {**before, "content": None} == {**now, "content": None}


def _is_touched(before: Any, now: Mapping[str, Any], path: str) -> bool:
    """Whether its time alone is another one; it is read for that."""
    if not isinstance(before, dict) or "content" not in before or "changed" not in now:
        return False
    return _is_same({**before, "changed": 0}, {**now, "changed": 0}) and digests.of_file(path) == before["content"]


def _check_question(path: Path, before: Any, now: Mapping[str, Any], fix: str) -> None:
    known = before if isinstance(before, dict) else {}
    changed = [name for name in now if name not in known or known[name] != now[name]]
    if not changed:
        return
    what = ", ".join(f"{name} was {known.get(name)!r:.60}, now {now[name]!r:.60}" for name in changed)
    raise C3AlignError(f"{path} is of another run ({what}); go on as before, or {fix}")


def _check_ours(path: Path, content: bytes) -> None:
    """Refuse what no run has left, which is the user's own perhaps, before there is advice to delete it."""
    try:
        config = container.parse_config(content, len(content), "checkpoint")
    except C3AlignError:
        config = {}
    if config.get("format") != FORMAT:
        raise C3AlignError(f"{path} is no whole checkpoint of c3align fit; pass another name as --checkpoint")


def _check_line(path: Path, name: str, line: Mapping[str, Any]) -> None:
    """Refuse what this library never wrote: files are compared, and removed, by these names."""
    place, dropped = PurePath(name), line["dropped"]
    are_rows = isinstance(dropped, list) and all(type(row) is int and row >= 0 for row in dropped)
    if place.is_absolute() or ".." in place.parts or not are_rows:
        raise C3AlignError(f"{path} holds a line that is not its own, about {name!r:.60}; {_ELSEWHERE}")


def _check_shard(name: str, is_known: bool, path: Path) -> None:
    if not is_known:
        raise C3AlignError(
            f"{name} was changed since it was read for {path}; pass --changed redo to do again what depends on it"
        )


class Journal:
    """What was done of each shard, a line for each behind one that says what was asked for.

    A line is written when its shard is whole. A last line that a kill cut off counts as none.
    """

    def __init__(self, path: Path, question: Mapping[str, Any] | None = None) -> None:
        """The list of a run that asks this; without a question, one to be read alone."""
        self.path, self.question, self.done = path, dict(question or {}), dict[str, dict[str, Any]]()
        self.n_touched = self.n_damaged = 0  # shards with another time alone; files that are not as they were written
        self.n_gone = 0  # files removed, since their shards are gone
        if path.exists():
            first, *lines = [_parsed(line) for line in path.read_bytes().split(b"\n")[:-1]] or [None]
            if question is not None:
                _check_question(path, (first or {}).get(FORMAT), self.question, _ELSEWHERE)
            named = [line for line in lines if line and isinstance(line.get("shard"), str)]
            self.done = {line["shard"]: {**line, "dropped": line.get("dropped", [])} for line in named}
            for name, line in self.done.items():
                _check_line(path, name, line)
        if question is not None:
            self.write(self.done)

    def write(self, shards: Iterable[str]) -> None:
        """The list anew, in the order of the shards, with one line for each."""
        lines = [{FORMAT: self.question}, *(self.done[shard] for shard in shards)]
        atomic.write(self.path, "".join(f"{json.dumps(line)}\n" for line in lines).encode())

    def note(self, shard: str, **known: Any) -> None:
        """Write down that a shard is whole; errors name the list."""
        entry = {"shard": shard, **known}
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            left = memoryview(f"{json.dumps(entry)}\n".encode())
            with atomic.named(self.path):
                while len(left):
                    left = left[os.write(handle, left) :]
        finally:
            os.close(handle)
        self.done[shard] = entry

    def forget(self, shards: Collection[str], folder: Path, redo: bool) -> None:
        """See to what is no longer among the shards: it was done, and is gone.

        Raises
        ------
        C3AlignError
            Something is, and is not to be done again, which removes its file from `folder`.
        """
        for name in [name for name in self.done if name not in shards]:
            if not redo:
                raise C3AlignError(
                    f"{name} was read for {self.path} and is gone; put it back, or pass --changed redo to remove "
                    f"{folder / name} too"
                )
            atomic.remove(folder / name)
            del self.done[name]
            self.n_gone += 1

    def has(self, shard: str, found: Mapping[str, Any], path: str, target: Path, redo: bool) -> bool:
        """Whether a shard is done, as it is now at `path`, and its file as it was written.

        Raises
        ------
        C3AlignError
            It was changed since, and is not to be done again.
        """
        entry = self.done.get(shard)
        if entry is None:
            return False
        before: Any = entry.get("input")
        is_known = _is_same(before, found)
        if not is_known and _is_touched(before, found, path):
            is_known, self.n_touched = True, self.n_touched + 1
            self.note(**{**entry, "input": {**before, **found}})
        if not redo:
            _check_shard(shard, is_known, self.path)
        is_there = target.is_file() and target.stat().st_size == entry.get("size")
        is_whole = is_there and digests.of_file(target) == entry.get("sha256")
        self.n_damaged += is_known and not is_whole
        return is_known and is_whole


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class Checkpoint:
    """What was learned of the first shards, in one file that is replaced whole and removed in the end.

    `notes` are whatever else must be known of them; `n_shards` how many shards of the first source they are.
    """

    def __init__(self, path: Path, question: Mapping[str, Any]) -> None:
        self.path, self.question = path, json.loads(json.dumps(question))
        self.n_shards, self.learned, self.notes = 0, b"", list[Any]()
        self._known: list[list[dict[str, Any]]] = [[], []]  # of each shard of each source, what it was

    def load(self, sources: Sequence[Any], redo: bool) -> bool:
        """Whether an earlier run has left something; it must have asked the same, of the same shards."""
        if not self.path.exists():
            return False
        content = self.path.read_bytes()
        _check_ours(self.path, content)
        with container.about(self.path):
            config, tensors = container.parse(content, "checkpoint")
        _check_question(self.path, config.get("question"), self.question, "delete it to begin anew")
        known = json.loads(tensors["known"].tobytes())
        for source, shards in zip(sources, known["shards"]):
            for path, part, before in zip(source.paths, source.parts, shards):
                is_known = _is_same(before, fingerprint(part))
                if redo and not is_known:
                    return False
                _check_shard(path, is_known, self.path)
        self._known, self.notes = known["shards"], known["notes"]
        self.n_shards, self.learned = len(self._known[0]), tensors["learned"].tobytes()
        return True

    def save(self, learned: bytes, seen: Sequence[Sequence[Any]], notes: Sequence[Any]) -> None:
        """Note what was learned of the shards that were `seen` of each source."""
        for known, parts in zip(self._known, seen):
            known += map(fingerprint, parts[len(known) :])
        content = json.dumps({"shards": self._known, "notes": list(notes)}).encode()
        tensors = {"known": np.frombuffer(content, np.uint8), "learned": np.frombuffer(learned, np.uint8)}
        config = {"format": FORMAT, "format_version": 2, "question": self.question}
        atomic.write(self.path, container.dump(tensors, config))

    def remove(self) -> None:
        atomic.remove(self.path)
