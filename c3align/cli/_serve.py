"""`c3align serve`: an index in a browser."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from c3align._imports import need
from c3align.cli._app import app
from c3align.cli._index import open_index
from c3align.errors import C3AlignError, counted

_HOST = "127.0.0.1"


@app.command(epilog="Example:  c3align serve idx   and then open http://127.0.0.1:8000")
def serve(
    folder: Annotated[Path, typer.Argument(help="Folder that `c3align index` wrote.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this machine alone; 0 for one that is free.")] = 8000,
    root: Annotated[Path, typer.Option(help="Where it was indexed, which paths of pictures are relative to.")] = Path(),
    encoder: Annotated[str | None, typer.Option(help="In place of the one that the index names.")] = None,
) -> None:
    """Search an index in a browser, and see what raw, centered and fair scores find. Nothing is written."""
    uvicorn, _ = need("uvicorn", "uvicorn", "serve"), need("starlette", "starlette", "serve")
    from c3align.search.serve import Site, Viewer

    try:
        listening = socket.create_server((_HOST, port))
    except OSError as error:
        raise C3AlignError(f"port {port} must be free, got {error}; pass another one as --port") from error
    with listening:
        viewer, chosen = Viewer(open_index(folder, encoder), root), listening.getsockname()[1]
        options = {"lifespan": "off", "ws": "none", "http": "h11", "log_level": "warning", "proxy_headers": False}
        server = uvicorn.Server(uvicorn.Config(Site(viewer, chosen), **options))
        print(f"{folder}: {counted(len(viewer.ids), 'item')} at http://{_HOST}:{chosen} (Ctrl-C ends it)", flush=True)
        server.run(sockets=[listening])
