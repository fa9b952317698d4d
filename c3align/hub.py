"""Aligners, captioners, generators and pipelines on the Hugging Face Hub, each with a card that says what it holds.

What is put there comes back by `from_pretrained("owner/name")` of its class, which fetches files of c3align's own names
alone and reads them as it reads a stranger's folder: digests are compared, and nothing is unpickled.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from itertools import combinations
from pathlib import Path
from typing import Any

from c3align import centering
from c3align.errors import C3AlignError, one_line
from c3align.io import hub

__all__ = ["card", "push_to_hub"]

_KINDS = {"C3Aligner": "c3align", "Pipeline": "c3align"}  # and where each is imported from
_KINDS |= dict.fromkeys(("EmbeddingGenerator", "MemoryCaptioner", "PrefixCaptioner"), "c3align.decoders")
_USES = {
    "C3Aligner": 'aligned = loaded.transform(rows, modality="{modality}")',
    "EmbeddingGenerator": "pictures = loaded.generate(aligned)  # rows that C3Aligner.transform aligned",
    "MemoryCaptioner": "captions = loaded.generate(aligned)  # rows that C3Aligner.transform aligned",
    "PrefixCaptioner": "captions = loaded.generate(aligned)  # rows that C3Aligner.transform aligned",
    "Pipeline": "captions = loaded.caption(pictures)  # or loaded.draw(texts)",
}


def push_to_hub(
    obj: Any,
    repo_id: str,
    *,
    license: str | None = None,
    data: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    message: str | None = None,
) -> str:
    """Put what was fitted into a repository of the Hub, which is made if it is not there, with a card.

    The card takes the place of the repository's README.md. Files of an earlier push that belong to it no longer are
    removed; others stay. A repository with a config.json or other files of these names that no push wrote is refused.

    Parameters
    ----------
    obj : C3Aligner, MemoryCaptioner, PrefixCaptioner, EmbeddingGenerator or Pipeline
        What `save_pretrained` can write. See "Secrecy" in SECURITY.md: statistics, sample rows and texts are shared.
    repo_id : str
        "owner/name".
    license : str, optional
        As the Hub names it, such as "mit" or "cc-by-4.0"; without one the card says that none was stated.
    data : str, optional
        What it was fitted on, in your words, for the card.
    private : bool, optional
        Whether a new repository is private; by default as the owner has set it.
    token : str or bool, optional
        By default the one of ``hf auth login``.
    revision : str, optional
        A branch that exists; "main" by default.
    message : str, optional
        What the commit says.

    Returns
    -------
    str
        The address of the repository.

    Raises
    ------
    C3AlignError
        For something else, a name or licence that cannot be one, or a repository of something else; `HubError` for
        what the Hub says.
    """
    text = card(obj, repo_id, license=license, data=data)
    what: Any = {"revision": revision, "commit_message": message or f"{type(obj).__name__} of c3align"}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "saved"
        obj.save_pretrained(folder)
        (folder / "README.md").write_text(text, encoding="utf-8")
        with hub.said(f"cannot push to {repo_id}, and the Hub says"):
            from huggingface_hub import HfApi

            api, ours = HfApi(token=token), [*hub.ALIGNER, *hub.DECODER, *hub.PIPELINE]
            url = api.create_repo(repo_id, private=private, exist_ok=True)
            _check_ours(repo_id, api.list_repo_files(repo_id, revision=revision), ours)
            api.upload_folder(repo_id=repo_id, folder_path=folder, delete_patterns=ours, **what)
    return str(url)


def _check_ours(repo_id: str, files: Iterable[str], ours: Sequence[str]) -> None:
    """Refuse a repository of which files would be removed or replaced that no push has written."""
    found = [name for name in files if any(fnmatch(name, pattern) for pattern in ours)]
    if found and not any(name.endswith(".safetensors") or name == "pipeline.json" for name in found if name in ours):
        raise C3AlignError(f"{repo_id} holds {found[0]}, which is not of c3align; push to another repository")


def card(obj: Any, repo_id: str, *, license: str | None = None, data: str | None = None) -> str:
    """Write the card of what was fitted: modalities, rows, gaps, encoder, data and licence.

    Parameters
    ----------
    obj, repo_id, license, data : optional
        As in `push_to_hub`.

    Returns
    -------
    str
        Markdown with the metadata that the Hub reads.
    """
    kind = type(obj).__name__
    if kind not in _KINDS:
        raise C3AlignError(f"obj must be one of {', '.join(sorted(_KINDS))}, got a {kind}; save and push its parts")
    if not isinstance(repo_id, str) or not hub.is_id(repo_id):
        raise C3AlignError(f"repo_id must be 'owner/name', got {repo_id!r}; name both")
    if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", str(license)):
        raise C3AlignError(f"license must be a name of the Hub's list such as 'mit', got {license!r}; or omit it")
    aligner = {"C3Aligner": obj, "Pipeline": getattr(obj, "aligner", None)}.get(kind)
    names = [obj.modality_] if aligner is None else list(centering.state_of(aligner).usable)
    tags = json.dumps(["c3align", "modality-gap", *names])
    lines = ["---", "library_name: c3align", f"tags: {tags}", *([f"license: {license}"] if license else []), "---"]
    lines += [f"# {repo_id.partition('/')[2]}", "", f"A `{kind}` of c3align.", "", "```python"]
    lines += [f"from {_KINDS[kind]} import {kind}", "", f'loaded = {kind}.from_pretrained("{repo_id}")']
    lines += [_USES[kind].format(modality=names[0]), "```", "", *_facts(obj, aligner), ""]
    lines += [f"Data: {one_line(data) if data else 'not stated.'}", ""]
    lines += [f"Licence: {license or 'not stated; ask the owner before you use it.'}", ""]
    return "\n".join(lines)


def _facts(obj: Any, aligner: Any) -> list[str]:
    """What the card says of statistics, gaps and encoder; of a decoder alone, what it learned from."""
    owner = obj if aligner is None else aligner
    known = getattr(owner, "encoder_fingerprint_", None)
    encoder = f"`{known}`" if known else "not stated."
    found = [f"Encoder: {encoder}", "", f"Dimensions: {owner.n_dims if aligner is None else owner.n_features_in_}", ""]
    if aligner is None:
        return [*found, f"Learned from {obj.modality_} rows; it takes rows of any modality that were aligned."]
    found += ["| modality | rows | mean norm of raw rows |", "|---|---|---|"]
    found += [f"| {name} | {s.n_rows:,} | {s.mean_norm:.4g} |" for name, s in aligner.state_.usable.items()]
    found += ["", *(f"- {aligner.gap(a, b)}" for a, b in combinations(aligner.state_.usable, 2))]
    kept = {name: len(sample.rows) for name, sample in aligner.state_.samples.items()}
    rows = [f"It holds {n} unit rows of {name}." for name, n in kept.items()]
    return [*found, *rows]
