"""Search where the best answer wins, and not its modality: rows go aligned and calibrated into stores people use.

Importing this imports none of the stores' packages; making a store does, and names the pip command for what is missing.
"""

from __future__ import annotations

from c3align.search.card import calibrate_fused, state_digest
from c3align.search.faiss import FaissStore
from c3align.search.index import MixedIndex, Result
from c3align.search.lance import LanceStore
from c3align.search.migrate import Migration, migrate
from c3align.search.pgvector import PgvectorStore
from c3align.search.places import drop_table, open_store, raw_rows
from c3align.search.qdrant import QdrantStore
from c3align.search.store import Batch, Found, Store

__all__ = ["Batch", "FaissStore", "Found", "LanceStore", "Migration", "MixedIndex", "PgvectorStore", "QdrantStore"]
__all__ += ["Result", "Store", "calibrate_fused", "drop_table", "migrate", "open_store", "raw_rows", "state_digest"]
