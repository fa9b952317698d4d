"""`c3align index` and `c3align search`: a folder that answers texts with pictures and texts, and pictures too."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from c3align import embed as room
from c3align import encoders
from c3align._imports import need
from c3align.cli._app import AsJson, Output, app, check_kept, print_json, tell, visible
from c3align.errors import C3AlignError, counted, printable
from c3align.io import atomic, container, tables
from c3align.io.items import Item, gather
from c3align.io.media import EXTENSIONS
from c3align.io.shards import open_sources, tree_of

INDEX_FILE, _KIND = "index.json", "index"
_ROWS = 10_000  # of a shard, and of an addition


@app.command(
    epilog="Example:  c3align index photos/ captions.csv --encoder open_clip:ViT-B-32/laion2b_s34b_b79k -o idx"
)
def index(
    data: Annotated[list[str], typer.Argument(help="Folders of pictures, tables of texts, or MODALITY=PATH.")],
    output: Output,
    encoder: Annotated[str, typer.Option(help="Such as open_clip:MODEL/TAG; see `c3align encoders`.")],
    aligner: Annotated[
        Path | None,
        typer.Option("--aligner", "-a", help="Of `c3align fit --second-moments`; or it is learned here."),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Of a table: texts, or paths.")] = None,
    on_error: Annotated[str, typer.Option(help="'raise', or 'skip' what cannot be read.")] = "raise",
    batch_size: Annotated[int, typer.Option(help="Items at a time.")] = 64,
    device: Annotated[str | None, typer.Option(help="Such as cuda; the CPU by default.")] = None,
) -> None:
    """Index pictures and texts together, in LanceDB. Started again, it goes on, and adds what is new."""
    from c3align import search

    need("lancedb", "lancedb", "search")  # before anything is embedded
    home, loaded = atomic.local_path(output), encoders.load(encoder)
    if aligner is not None and not (home / "aligner").exists():
        check_kept(aligner, loaded.fingerprint)
    options: dict[str, Any] = {"on_error": on_error, "batch_size": batch_size, "device": device}
    if home.exists() and not home.is_dir():
        raise C3AlignError(f"{home} is a file and must be a folder; choose another name")
    home.mkdir(parents=True, exist_ok=True)
    with atomic.alone(home):
        _write_down(home, {"encoder": encoder, "fingerprint": loaded.fingerprint})
        store, trees = search.LanceStore(home), home / "embedded"
        found: list[tuple[str, list[Item], Any]] = []
        n_known = 0
        for each in data:
            modality, path = _kind_of(each)
            items = gather(path, modality, column if _has_columns(path) or not any(map(_has_columns, data)) else None)
            known = store.ids([item.name for item in items])
            _check_texts(store, {item.name: item.caption for item in items if item.name in known}, path)
            new = [item for item in items if item.name not in known]
            n_known += len(items) - len(new)
            if new:
                tree = trees / hashlib.sha256("\n".join(item.name for item in new).encode()).hexdigest()[:16]
                room.embed(loaded, new, tree, modality=modality, shard_items=_ROWS, **options)
                found.append((modality, new, open_sources([str(tree)])[0]))
        opened = search.MixedIndex(loaded, _aligner(home, aligner, loaded, found), store)
        n_added = sum(_add(opened, *each) for each in found)
        shutil.rmtree(trees, ignore_errors=True)
    if n_known:
        told = counted(n_known, "known name")
        tell("note", f"{told}, not read again; if items have changed or are gone, make a new index")
    print(f"{output}: {n_added} added, {len(opened)} in all")


def _check_texts(store: Any, texts: dict[str, str | None], table: str) -> None:
    """Refuse a table in which names stand for other texts than when they were indexed, as below a row that is new."""
    if not any(text is not None for text in texts.values()):
        return
    stored = (pair for batch in store.scan() for pair in zip(batch.ids, batch.metadata))
    others = [name for name, kept in stored if name in texts and kept.get("text") != texts[name]]
    if others:
        raise C3AlignError(
            f"{table} has other texts than were indexed under the same names, {len(others)} of {len(texts)}, first "
            f"{printable(others[0])}: add new rows at its end, or make a new index"
        )


def _kind_of(data: str) -> tuple[str, str]:
    """Modality and path: tables hold texts and all else pictures, unless it is said."""
    name, sign, path = data.partition("=")
    if sign and name.isidentifier():
        return name, path
    return ("text" if Path(data).suffix.lower() in tables.SUFFIXES else "image"), data


def _has_columns(data: str) -> bool:
    """Whether `--column` is about it: pictures and lines beside it have none."""
    return Path(data).suffix.lower() in tables.SUFFIXES[1:]


def _write_down(home: Path, config: dict[str, str]) -> None:
    """What searches the index, or a refusal where it was made by another encoder."""
    path = home / INDEX_FILE
    if path.exists():
        before = container.read_json(path, _KIND)
        if before.get("fingerprint") != config["fingerprint"]:
            raise C3AlignError(
                f"--encoder must be the one that {home} was made with, {before.get('encoder')}, got "
                f"{config['encoder']}; pass that one, or another folder"
            )
        return
    if any(not path.name.startswith(atomic.SCRATCH) for path in home.iterdir()):
        raise C3AlignError(f"{home} exists and is no index of c3align; choose another folder")
    atomic.write(path, (json.dumps({"format": "c3align.index", "format_version": 1, **config}) + "\n").encode())


def _aligner(home: Path, given: Path | None, encoder: Any, found: list[tuple[str, list[Item], Any]]) -> Any:
    """The index' own once there is one; else that which was given, or one learned from what is indexed."""
    from c3align import C3Aligner

    own = home / "aligner"
    if given is not None and own.exists():
        fingerprint = encoder.fingerprint
        both = [C3Aligner.from_pretrained(str(folder), encoder=fingerprint).to_bytes() for folder in (own, given)]
        if both[0] != both[1]:
            raise C3AlignError(f"--aligner must be the one that {home} was made with; omit it, or make another index")
    if given is None and not own.exists():
        modalities = {modality for modality, _, _ in found}
        if len(modalities) < 2 or "text" not in modalities:
            raise C3AlignError(
                f"to learn an aligner takes texts and another modality, got {', '.join(sorted(modalities)) or 'none'}; "
                "pass both, or an aligner that knows them as --aligner"
            )
        learner = C3Aligner(mapping="barycenter")
        for modality, _, source in found:
            for _, rows in source.blocks():
                learner.partial_fit(rows, modality=modality)
        learner.bind_encoder(encoder.fingerprint).save_pretrained(own)
    elif not own.exists():
        C3Aligner.from_pretrained(str(given), encoder=encoder.fingerprint).save_pretrained(own)
    return C3Aligner.from_pretrained(own, encoder=encoder.fingerprint)


def _add(opened: Any, modality: str, items: list[Item], source: Any) -> int:
    tree = tree_of(source)
    numbers = None if tree is None else tree.numbers()
    n_added = 0
    for start, rows in _blocks(source):
        kept = [items[int(i)] for i in numbers[start : start + len(rows)]]  # type: ignore[index]
        metadata = [{"text": item.caption} if item.caption is not None else {} for item in kept]
        ids = [item.name for item in kept]
        n_added += opened.add(rows, modality=modality, ids=ids, metadata=metadata, skip_known=True)
    return n_added


def _blocks(source: Any) -> Iterator[tuple[int, Any]]:
    for start in range(0, source.n_rows, _ROWS):
        yield start, source.read(start, min(start + _ROWS, source.n_rows))


@app.command(epilog='Examples:  c3align search "a red bag" idx   |   c3align search bag.jpg idx -k 5 --json')
def search(
    query: Annotated[str, typer.Argument(help="A text, or the path of a picture, sound or video.")],
    folder: Annotated[Path, typer.Argument(help="Folder that `c3align index` wrote.")],
    k: Annotated[int, typer.Option("-k", help="How many results.")] = 10,
    modality: Annotated[str | None, typer.Option(help="What the query is, unless its ending says.")] = None,
    only: Annotated[str | None, typer.Option(help="Results of this modality alone.")] = None,
    max_false_positive_rate: Annotated[
        float | None, typer.Option(help="Leaves out what this share of unrelated documents would reach.")
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="In place of the one that the index names.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find what is most surprisingly alike to a text or a picture, whatever its modality."""
    if not query.strip():
        raise C3AlignError("the query is empty; pass a text, or the path of a picture, sound or video")
    own, opened = modality or _modality_of(query), open_index(folder, encoder)
    wanted = {} if only is None else {"modality": only}
    found = opened.query(query, modality=own, k=k, filter=wanted, max_false_positive_rate=max_false_positive_rate)
    if as_json:
        print_json({"query": query, "modality": own, "results": [result._asdict() for result in found]})
        return
    for result in found:
        text = result.metadata.get("text")
        print(visible(f"{result.z:6.2f}  {result.modality:6}  {result.id}" + (f"  {text}" if text else "")))


def open_index(folder: Path, encoder: str | None) -> Any:
    """The index of a folder; `encoder` takes the place of the one that it names."""
    from c3align import C3Aligner, search

    home = atomic.local_path(folder)
    if not (home / INDEX_FILE).exists():
        raise C3AlignError(f"{folder} is no index; pass a folder that `c3align index` wrote")
    config = container.read_json(home / INDEX_FILE, _KIND)
    spec, fingerprint = (str(config.get(name)) for name in ("encoder", "fingerprint"))
    encoders.check_claim(encoder or spec, fingerprint)
    store = search.LanceStore(home)
    if store.about() is None:
        raise C3AlignError(f"{folder} holds nothing yet; run `c3align index` again, which goes on")
    learned = C3Aligner.from_pretrained(home / "aligner", encoder=fingerprint)
    return search.MixedIndex(encoders.load(encoder or spec), learned, store)


def _modality_of(query: str) -> str:
    """That of a file's ending, where there is such a file; else it is a text."""
    ending = Path(query).suffix.lower()
    kinds = [name for name, endings in EXTENSIONS.items() if ending and ending in endings]
    if kinds and not Path(query).is_file() and len(query.split()) == 1:
        raise C3AlignError(f"no file {query}; correct the path, or pass --modality text to look for these words")
    return kinds[0] if kinds else "text"
