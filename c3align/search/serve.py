"""A page to search an index by hand, and to see what centering and calibration change; for this machine alone.

It writes nothing. Raw scores are exact: a mapping with a way back gives the rows that the encoder gave.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import warnings
from collections import Counter
from contextlib import suppress
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from c3align._imports import need
from c3align._unrelated import SHARES
from c3align.calibration import MIN_EXCEEDING
from c3align.errors import C3AlignError, one_line
from c3align.io import media, npy
from c3align.search.index import MixedIndex, Result
from c3align.search.store import Batch, Found, Rows

__all__ = ["MOST_BYTES", "MOST_PIXELS", "Site", "Viewer"]

MOST_BYTES, MOST_PIXELS, MOST_TEXT, MOST_RESULTS = 1 << 25, 1 << 26, 1 << 14, 100
_UPLOADS, _SECONDS = 4, 60  # pictures that are taken at a time, and how long one may be on its way
_MOST_GIGABYTES, _KEPT, _SIDE = 2, 500, 400  # of raw rows; small pictures that are kept, and their pixels
_part = partial(need, package="starlette", extra="serve")
_OF_ARRAY = re.compile(r"(.*\.npy)\[(\d+)\]", re.DOTALL)


class Viewer:
    """The items of an index by number, found in three ways; paths are relative to `root`."""

    def __init__(self, index: MixedIndex, root: str | os.PathLike[str] = ".") -> None:
        self.index, self._root, self.ids = index, Path(root), list[str]()
        self._modalities, self._metadata, raw = list[str](), list[dict[str, Any]](), []
        gigabytes = 4e-9 * len(index) * int(index.aligner.n_features_in_)
        self.why_not = f"raw rows would take {gigabytes:.1f} GB of memory" if gigabytes > _MOST_GIGABYTES else None
        for batch in index.store.scan():
            self.ids += batch.ids
            self._modalities += batch.modalities
            self._metadata += batch.metadata
            if self.why_not is None:
                raw.append(self._raw(batch))
        self._numbers = {name: i for i, name in enumerate(self.ids)}
        self._kinds = {name: np.array([m == name for m in self._modalities]) for name in {*self._modalities}}
        self._rows = np.concatenate(raw) if raw and self.why_not is None else None
        self._drawn = lru_cache(_KEPT)(self._small)

    def _raw(self, batch: Batch) -> Rows:
        """The unit rows that the encoder gave, of those that are stored."""
        found = np.zeros_like(batch.rows)
        try:
            for name in {*batch.modalities}:
                mine = np.array(batch.modalities) == name
                if name not in self.index.aligner.statistics_:
                    raise C3AlignError(f"a row of {name} is made of several, which the index does not hold")
                aligned = batch.rows[mine] / np.float32(self.index._scale[name])
                found[mine] = self.index.aligner.inverse_transform(aligned, modality=name)
        except C3AlignError as error:
            self.why_not = str(error)
        return found

    def about(self) -> dict[str, Any]:
        """What the page says of the index."""
        encoder: Any = self.index.encoder
        asks = sorted({*encoder.modalities} & {*self.index.aligner.statistics_})
        told = {"encoder": encoder.fingerprint, "asks": asks, "counts": dict(sorted(Counter(self._modalities).items()))}
        return {**told, "why_not": self.why_not, "most_bytes": MOST_BYTES}

    def search(self, item: Any, modality: str, k: int) -> dict[str, Any]:
        """The best k items by fair scores, and where they can be computed by raw and by centered ones."""
        row = self.index._embedded([item], modality, 1)
        found = {"fair": [(result, result.z) for result in self.index.query(row, modality=modality, k=k)]}
        if self._rows is not None:
            for way, scores in self._cosines(self._rows, row[0], modality).items():
                best = np.argsort(-scores, kind="stable")[:k]
                found[way] = list(
                    zip(self._calibrated(self._rows, best.tolist(), row, modality), scores[best].tolist())
                )
        results = [result for each in reversed(found.values()) for result, _ in each]
        ways = {way: [{"id": result.id, "score": score} for result, score in each] for way, each in found.items()}
        return {"items": {result.id: self._told(result, modality) for result in results}, "ways": ways}

    def _cosines(self, rows: Rows, row: Rows, modality: str) -> dict[str, Rows]:
        """Cosines of the query to all items: of the raw rows, and of rows less the mean of their modality."""
        means = {name: each.mean.astype(np.float32) for name, each in self.index.aligner.statistics_.items()}
        query = row / np.linalg.norm(row)
        moved = query - means[modality]
        moved /= np.linalg.norm(moved)
        raw, centered = rows @ query, rows @ moved
        for name, mine in self._kinds.items():
            squares = 1 - 2 * (rows @ means[name])[mine] + means[name] @ means[name]
            centered[mine] = (centered[mine] - means[name] @ moved) / np.sqrt(np.maximum(squares, 1e-12))
        return {"raw": raw, "centered": centered}

    def _calibrated(self, rows: Rows, numbers: list[int], row: Rows, modality: str) -> list[Result]:
        """These items with the scores that the index gives them."""
        found: dict[int, Result] = {}
        query = self.index._aligned(row, modality, 1)[0]
        for name in {self._modalities[i] for i in numbers}:
            own = [i for i in numbers if self._modalities[i] == name]
            scores = (self.index.stored(rows[own], name) @ query).tolist()
            hits = [Found(self.ids[i], name, score, self._metadata[i]) for i, score in zip(own, scores)]
            found.update(zip(own, self.index._scored(hits, modality)))
        return [found[i] for i in numbers]

    def _told(self, result: Result, modality: str) -> dict[str, Any]:
        calibration = self.index.calibration
        place = calibration.modalities.index(modality), calibration.modalities.index(result.modality)
        above = 1 - float(np.interp(result.cosine, calibration.quantiles[place], SHARES))
        least = max(MIN_EXCEEDING / int(calibration.n_scores[place]), float(1 - SHARES[-1]))
        number = self._numbers.get(result.id)  # None of what came into the index since
        scores = {"z": result.z, "rate": max(above, least), "is_bound": above < least, "chance": result.probability}
        shown = {"text": result.metadata.get("text"), "picture": number is not None and bool(self._file(number))}
        return {"row": number, "modality": result.modality, **shown, **scores}

    def _file(self, number: int) -> tuple[str, int] | None:
        """Where an item's picture is, and which one it is of an array; None where there is none."""
        if not (0 <= number < len(self.ids) and self._modalities[number] == "image"):
            return None
        of_array = _OF_ARRAY.fullmatch(self.ids[number])
        name, place = (of_array[1], int(of_array[2])) if of_array else (self.ids[number], -1)
        path = str(self._root / name)
        return (path, place) if "://" not in name and os.path.isfile(path) else None

    def small(self, number: int) -> bytes | None:
        """A JPEG of an item; None of what is no picture, or not there now."""
        file = self._file(number)
        return self._drawn(*file) if file else None

    def _small(self, path: str, place: int) -> bytes:
        picture = media.image(path if place < 0 else npy.stored(path).read(place, place + 1)[0])
        picture.thumbnail((_SIDE, _SIDE))
        picture.save(content := io.BytesIO(), "JPEG", quality=85)
        return content.getvalue()


class Site:
    """What an ASGI server runs on a port of the loopback; one search and one small picture at a time, in threads."""

    def __init__(self, viewer: Viewer, port: int) -> None:
        self._viewer, self._anyio, self._answers = viewer, _part("anyio"), _part("starlette.responses")
        self._refusal, route = _part("starlette.exceptions").HTTPException, _part("starlette.routing").Route
        self._searching, self._drawing, self._uploads = map(self._anyio.CapacityLimiter, (1, 1, _UPLOADS))
        own = [f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]
        self._json, self._hosts = self._answers.JSONResponse, own + [host.removesuffix(":80") for host in own]
        html = resources.files("c3align.search").joinpath("page.html").read_text("utf-8")
        self._seals = [(name.encode(), value.encode()) for name, value in _seals(html).items()]
        page = self._answers.HTMLResponse(html)
        routes = [route("/search", self._search, methods=["POST"]), route("/picture/{row:int}", self._picture)]
        routes += [route("/", lambda _: page), route("/about", lambda _: self._json(viewer.about()))]
        gone = _part("starlette.requests").ClientDisconnect
        wrong = dict.fromkeys([self._refusal, gone, ValueError, OSError, Exception], self._wrong)
        self._inner = _part("starlette.applications").Starlette(routes=routes, exception_handlers=wrong)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer nothing to pages of other sites, nor where a name leads here by a trick of DNS."""

        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._seals]
            await send(message)

        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, site = given.get("host", "").lower(), given.get("sec-fetch-site", "none")
        is_ours = given.get("origin", f"http://{host}").lower() == f"http://{host}" and site in ("same-origin", "none")
        is_answered = host in self._hosts and (is_ours or (scope["path"], scope["method"]) == ("/", "GET"))
        refused = self._json({"error": "this answers its own page alone; open it by its address"}, 403)
        await (self._inner if is_answered else refused)(scope, receive, sealed)

    async def _wrong(self, _: Any, error: Exception) -> Any:
        is_told = isinstance(error, (ValueError, OSError))
        status, text = (400, one_line(error)) if is_told else (500, "this is a bug; the terminal says more")
        return self._json({"error": getattr(error, "detail", text)}, getattr(error, "status_code", status))

    async def _picture(self, request: Any) -> Any:
        small, row = self._viewer.small, request.path_params["row"]
        if content := await self._anyio.to_thread.run_sync(small, row, limiter=self._drawing):
            return self._answers.Response(content, media_type="image/jpeg")
        raise self._refusal(404, "no picture of the index has this number, or its file is gone")

    async def _search(self, request: Any) -> Any:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        k = request.query_params.get("k", "12")
        if not (k.isascii() and k.isdecimal() and len(k) < 4 and 1 <= int(k) <= MOST_RESULTS):
            raise self._refusal(400, f"k must be from 1 to {MOST_RESULTS}, got {k[:20]!r}; choose another")
        if kind == "application/json":
            return await self._found(_text_of(await self._body(request, MOST_TEXT)), "text", int(k))
        if not kind.startswith("image/"):  # kinds that a page of another site could send are refused
            raise self._refusal(415, f"a query must be JSON or a picture, got {kind[:50]!r}; send one of them")
        async with self._uploads:
            return await self._found(await self._body(request, MOST_BYTES), "image", int(k))

    async def _body(self, request: Any, most: int) -> bytes:
        """What was sent, of which no more is read than may be."""
        too_long, found = self._refusal(413, f"a query must be at most {most:,} bytes; send a smaller one"), bytearray()
        if int(request.headers.get("content-length", 0)) > most:
            raise too_long
        with self._anyio.move_on_after(_SECONDS) as waiting:
            async for part in request.stream():
                found += part
                if len(found) > most:
                    raise too_long
        if waiting.cancelled_caught:
            raise self._refusal(408, f"a query must come within {_SECONDS} seconds; send it again")
        return bytes(found)

    async def _found(self, given: Any, modality: str, k: int) -> Any:
        def found() -> dict[str, Any]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of one row, which lies far from its mean by chance
                return self._viewer.search(_opened(given) if modality == "image" else given, modality, k)

        return self._json(await self._anyio.to_thread.run_sync(found, limiter=self._searching))


def _opened(content: bytes) -> Any:
    try:
        return media.image(content, MOST_PIXELS)
    except (C3AlignError, OSError) as error:
        most, kinds = f"{MOST_PIXELS / 1e6:.0f} million pixels", ", ".join(media.FORMATS)
        raise C3AlignError(f"a picture must be whole, of at most {most}, and one of {kinds}; choose another") from error


def _text_of(body: bytes) -> str:
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        text = json.loads(body)["text"]
        if isinstance(text, str) and text.strip() and text.encode():
            return text
    raise C3AlignError('a query must be {"text": ...} with some text; type one')


def _seals(html: str) -> dict[str, str]:
    """Headers of every answer: the page runs its own script, and asks and tells nobody else anything."""
    parts = {name: re.search(f"<{name}>(.*?)</{name}>", html, re.DOTALL) for name in ("script", "style")}
    digests = {n: base64.b64encode(hashlib.sha256(p[1].encode()).digest()).decode() for n, p in parts.items() if p}
    allowed = " ".join(f"{name}-src 'sha256-{digest}';" for name, digest in digests.items())
    rest = "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    same = {f"cross-origin-{what}-policy": "same-origin" for what in ("resource", "opener")}
    same |= {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}
    return {"content-security-policy": f"default-src 'none'; {allowed} {rest}", **same}
