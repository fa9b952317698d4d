"""`c3align migrate`: an index of raw vectors becomes an aligned one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from c3align.cli._app import AlignerFolder, AsJson, Fingerprint, app, check_kept, print_json
from c3align.errors import C3AlignError, EncoderMismatchWarning, ModalityMeanWarning, counted
from c3align.io import atomic

Query = Annotated[
    str | None, typer.Option("--query", help="Modality of most queries, which rows are scaled for; text by default.")
]


@app.command(
    epilog="Example:  c3align migrate raw-lance --table photos --vector clip --modality image -a aligner -o idx"
)
def migrate(
    store: Annotated[str, typer.Argument(help="Folder of a LanceDB, http://host:6333 (Qdrant), or postgresql://...")],
    aligner: AlignerFolder,
    output: Annotated[str, typer.Option("--output", "-o", help="Where the aligned index is: as STORE, or itself.")],
    table: Annotated[str, typer.Option(help="The raw table or collection.")] = "rows",
    to: Annotated[str | None, typer.Option(help="The aligned one: 'rows', or 'aligned' beside the raw one.")] = None,
    id_column: Annotated[str, typer.Option("--id", help="Column of the ids.")] = "id",
    vector_column: Annotated[
        str, typer.Option("--vector", help="Column, or name in Qdrant, of the vectors.")
    ] = "vector",
    modality: Annotated[str | None, typer.Option(help="What all rows are.")] = None,
    modality_column: Annotated[str | None, typer.Option(help="Instead: the column that says it.")] = None,
    bridge: Annotated[
        list[str] | None, typer.Option(help="MODALITY=FILE of `Bridge.save`: rows of an old encoder are moved.")
    ] = None,
    query: Query = None,
    encoder: Fingerprint = None,
    drop: Annotated[bool, typer.Option("--drop", help="Delete the raw table once all is verified.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an index of raw vectors an aligned one: resumable, verified by count and checksum."""
    from c3align import C3Aligner, search
    from c3align.search.places import reached

    check_kept(aligner, encoder)
    fitted = C3Aligner.from_pretrained(aligner, encoder=encoder)
    columns = {"id_column": id_column, "vector_column": vector_column}
    columns |= {"modality": modality, "modality_column": modality_column}  # type: ignore[dict-item]
    to = to or ("aligned" if output == store else "rows")
    if (store, table) == (output, to):
        raise C3AlignError(f"--to must name another table than the raw one, got {to!r}; choose another name")

    def raw() -> Any:
        return tqdm(search.raw_rows(store, table, **columns), unit=" blocks", delay=1, disable=None)

    next(iter(search.raw_rows(store, table, **columns)), None)  # what is wrong with it is said before anything is made
    bridges = _bridges(bridge or [])
    told: list[Any] = []
    with (
        _noted(told),
        reached(),
        nullcontext() if "://" in output else atomic.alone(atomic.local_path(f"{output}.{to}")),
    ):
        index = search.MixedIndex(None, fitted, search.open_store(output, to), query=query)
        done = search.migrate(raw, index, moved=bridges)
        if isinstance(index.store, search.FaissStore):
            index.store.save()
    if drop and any(issubclass(kind, ModalityMeanWarning | EncoderMismatchWarning) for kind in told):
        raise C3AlignError(
            "the raw table is kept, as the warning casts doubt on its rows; drop it by a second run once that is clear"
        )
    if drop:
        search.drop_table(store, table)
    if as_json:
        print_json(done._asdict())
    else:
        rows = counted(done.n_rows, "row")
        print(
            f"{output}: {rows}, {done.n_added} of them now; both sides have one sum of vectors and checksum of ids "
            f"({done.checksum})"
        )


@contextmanager
def _noted(told: list[Any]) -> Iterator[None]:
    """Keep the kinds of the warnings that are shown meanwhile."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def noted(message: Any, category: Any, *rest: Any, **more: Any) -> None:
            told.append(category)
            show(message, category, *rest, **more)

        warnings.showwarning = noted
        yield


def _bridges(given: list[str]) -> dict[str, Any]:
    from c3align.bridge import Bridge

    found = {}
    for each in given:
        name, _, path = each.partition("=")
        if not path:
            raise C3AlignError(f"--bridge must be MODALITY=FILE, got {each!r}; write image=bridge.safetensors")
        found[name] = Bridge.load(Path(path)).apply
    return found
