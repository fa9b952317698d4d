"""`c3align serve`: what its three kinds of scores find, what strangers and broken pictures get, what a browser shows.

The answers are asked from a real server: the command in a process of its own.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from c3align import C3Aligner, datasets, encoders
from c3align.report._chart import DARK, LIGHT
from c3align.search import FaissStore, MixedIndex, calibrate_fused, serve
from tests import browser, stores

pytestmark = [
    pytest.mark.skipif(not (find_spec("starlette") and find_spec("uvicorn")), reason="extra serve is not installed"),
    pytest.mark.filterwarnings("ignore::c3align.errors.CalibrationWarning"),
]
N = 120
PAGE = Path(serve.__file__).with_name("page.html")


@pytest.fixture(scope="module")
def glyphs():
    return datasets.glyphs(split="held_out")


@pytest.fixture(scope="module")
def rows(glyphs):
    encoder = encoders.load("glyphs")
    image = encoder.encode(glyphs.pictures[:N], modality="image")
    return {"image": image, "text": encoder.encode(glyphs.names[N : 2 * N], modality="text")}


def index_of(rows, mapping="barycenter", **options):
    """An index of the pictures and names, in memory."""
    stores.require("faiss")
    encoder = encoders.load("glyphs")
    aligner = C3Aligner(mapping=mapping, second_moments=True).fit(rows["text"])
    aligner.partial_fit(rows["image"], modality="image").bind_encoder(encoder.fingerprint)
    index = MixedIndex(encoder, aligner, FaissStore(), **options)
    for modality, own in rows.items():
        index.add(own, modality=modality, ids=[f"{modality} {i}" for i in range(len(own))])
    return index


class TestWays:
    def test_scores_are_those_of_the_rows_that_the_encoder_gave(self, glyphs, rows):
        index = index_of(rows)
        found = serve.Viewer(index).search(glyphs.names[7], "text", 20)
        query = index.encoder.encode([glyphs.names[7]], modality="text")
        center = C3Aligner(mapping="center").fit(rows["text"]).partial_fit(rows["image"], modality="image")
        names = [f"{modality} {i}" for modality in rows for i in range(N)]
        for way in ("raw", "centered"):
            every = {**rows, "query": query}
            if way == "centered":
                every = {m: center.transform(X, modality="text" if m == "query" else m) for m, X in every.items()}
            unit = {m: X / np.linalg.norm(X, axis=1, keepdims=True) for m, X in every.items()}
            cosines = np.concatenate([unit["image"], unit["text"]]) @ unit["query"][0]
            best = np.argsort(-cosines, kind="stable")[:20]
            assert [hit["score"] for hit in found["ways"][way]] == pytest.approx(cosines[best], abs=2e-6)
            assert {hit["id"] for hit in found["ways"][way][:10]} == {names[i] for i in best[:10]}
        fair = index.query(glyphs.names[7], k=20)
        assert [(hit["id"], hit["score"]) for hit in found["ways"]["fair"]] == [(each.id, each.z) for each in fair]
        every = {each.id: each.z for each in index.query(glyphs.names[7], k=2 * N)}
        assert {name: item["z"] for name, item in found["items"].items()} == pytest.approx(
            {name: every[name] for name in found["items"]}, abs=2e-3
        )

    def test_the_rate_of_a_threshold_is_what_it_was_made_for(self, rows):
        index = index_of(rows)
        viewer = serve.Viewer(index)
        z = index.calibration.threshold(false_positive_rate=0.02, query="text", document="image")
        place = tuple(index.calibration.modalities.index(name) for name in ("text", "image"))
        cosine = (
            np.interp(z, *index.calibration._curve(*place)[::-1])
            if index.calibration.uses_quantiles
            else (index.calibration.means[place] + z * index.calibration.deviations[place])
        )
        result = index.query(rows["text"][0], k=1)[0]._replace(modality="image", cosine=float(cosine))
        assert viewer._told(result, "text")["rate"] == pytest.approx(0.02, rel=0.05)
        beyond = viewer._told(result._replace(cosine=1.0), "text")
        assert (beyond["is_bound"], beyond["rate"]) == (True, 10 / index.calibration.n_scores[place])

    def test_what_cannot_be_computed_is_not_shown(self, glyphs, rows):
        viewer = serve.Viewer(index_of(rows, "drop_unequal"))
        assert list(viewer.search(glyphs.names[7], "text", 3)["ways"]) == ["fair"]
        assert "drops directions" in viewer.about()["why_not"]
        index = index_of(rows)
        both = {name: each[:100] for name, each in rows.items()}
        fused = index_of(rows, calibration=calibrate_fused(index.aligner, {"image+text": both}))
        fused.add(both, modality="image+text", ids=[f"both {i}" for i in range(100)])
        viewer = serve.Viewer(fused)
        assert list(viewer.search(glyphs.names[7], "text", 3)["ways"]) == ["fair"]
        assert "image+text is made of several" in viewer.about()["why_not"]

    def test_an_empty_index_finds_nothing(self, glyphs, rows):
        full = index_of(rows)
        assert serve.Viewer(full).about()["counts"] == {"image": N, "text": N}
        empty = serve.Viewer(MixedIndex(full.encoder, full.aligner, FaissStore()))
        assert empty.search(glyphs.names[7], "text", 3) == {"items": {}, "ways": {"fair": []}}
        assert empty.about()["counts"] == {}

    def test_pictures_are_items_that_lie_here(self, glyphs, rows, tmp_path):
        picture = Image.fromarray(glyphs.pictures[0])
        picture.resize((900, 500)).save(tmp_path / "large.png")
        np.save(tmp_path / "many.npy", glyphs.pictures[:3])
        (tmp_path / "notes.png").write_text("no picture")
        (tmp_path / "drawing.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>")
        os.mkfifo(tmp_path / "pipe.png")
        index = index_of(rows)
        names = [
            "large.png",
            "many.npy[2]",
            "gone.png",
            "http://127.0.0.1/x.png",
            "pipe.png",
            "a\nb",
            ".",
            "notes.png",
            "drawing.png",
        ]
        index.add(rows["image"][: len(names)], modality="image", ids=names)
        viewer = serve.Viewer(index, tmp_path)
        small = {name: viewer.small(viewer.ids.index(name)) for name in names[:-2]}
        assert Image.open(io.BytesIO(small["large.png"])).size == (400, 222)
        again = np.asarray(Image.open(io.BytesIO(small["many.npy[2]"])), float)
        assert np.abs(again - glyphs.pictures[2].astype(float)[..., None]).mean() < 6
        assert [small[name] for name in names[2:-2]] == [None] * 5
        for name in names[-2:]:
            with pytest.raises(OSError, match="cannot identify"):
                viewer.small(viewer.ids.index(name))
        picture.save(tmp_path / "gone.png")  # it is back
        (tmp_path / "large.png").unlink()
        back = viewer.small(viewer.ids.index("gone.png"))
        assert Image.open(io.BytesIO(back or b"")).size == (32, 32)
        assert viewer.small(viewer.ids.index("large.png")) is None
        for number in (-1, len(viewer.ids), viewer.ids.index("text 3")):
            assert viewer.small(number) is None


class Served:
    """A running server, and how it is asked."""

    def __init__(self, process, port, folder):
        self.process, self.port, self.folder = process, port, folder

    def ask(self, method, path, body=None, **headers):
        """Status, headers and content of an answer."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = link.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            link.close()

    def search(self, item, k=12):
        """Status and JSON of a search by a text, or by the bytes of a picture."""
        kind, body = (
            ("image/png", item) if isinstance(item, bytes) else ("application/json", json.dumps({"text": item}))
        )
        status, _, content = self.ask("POST", f"/search?k={k}", body, Content_Type=kind)
        return status, json.loads(content)

    def peak(self):
        """The most memory that the server ever had, in MB."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            pytest.skip("needs /proc")
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1e3

    def files(self):
        return {str(path): path.stat().st_mtime_ns for path in sorted(self.folder.rglob("*"))}


@contextmanager
def serving(folder, *options):
    command = [sys.executable, "-m", "c3align", "serve", "idx", "--port", "0", *options]
    path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.stdout.readline()
        assert said, process.stderr.read()
        yield Served(process, int(re.search(r":(\d+) ", said)[1]), folder)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (130, ""), err
        assert err == "interrupted; nothing half-written was kept; the same command again goes on or begins anew\n"


@pytest.fixture(scope="module")
def home(glyphs, tmp_path_factory):
    """A folder with pictures, one of them gone since, and their index."""
    stores.require("lance")
    from c3align import cli

    folder = tmp_path_factory.mktemp("served")
    (folder / "photos").mkdir()
    for i in range(N):
        Image.fromarray(glyphs.pictures[i]).save(folder / "photos" / f"{i:03}.png")
    names = ["<img src=x onerror=alert(1)>", *glyphs.names[N : 2 * N]]
    (folder / "names.csv").write_text("caption\n" + "".join(f"{name}\n" for name in names))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.run(["index", "photos", "names.csv", "--encoder", "glyphs", "-o", "idx"]) == 0
    (folder / "photos" / "005.png").unlink()
    return folder


@pytest.fixture(scope="module")
def served(home):
    with serving(home) as found:
        yield found


def png(width, height, n_bytes):
    """A one-bit PNG of this size, with so many bytes of pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(n_bytes), 9)) + chunk(b"IEND", b"")


class TestAnswers:
    def test_a_text_and_a_picture_find_both(self, served, home, glyphs):
        before = served.files()
        status, found = served.search(glyphs.names[7], k=30)
        assert (status, set(found["ways"])) == (200, {"raw", "centered", "fair"})
        assert {item["modality"] for item in found["items"].values()} == {"image", "text"}
        status, found = served.search((home / "photos" / "007.png").read_bytes(), k=1)
        assert [found["ways"][way][0]["id"] for way in found["ways"]] == ["photos/007.png"] * 3
        item = found["items"]["photos/007.png"]
        assert (item["modality"], item["picture"], item["chance"]) == ("image", True, None)
        status, headers, content = served.ask("GET", f"/picture/{item['row']}")
        assert (status, headers["content-type"], Image.open(io.BytesIO(content)).size) == (200, "image/jpeg", (32, 32))
        assert served.files() == before

    def test_what_is_gone_is_said(self, served, glyphs):
        Image.fromarray(glyphs.pictures[5]).save(content := io.BytesIO(), "PNG")
        gone = served.search(content.getvalue(), k=1)[1]["items"]["photos/005.png"]
        assert gone["picture"] is False
        assert served.ask("GET", f"/picture/{gone['row']}")[0] == 404

    def test_every_answer_is_sealed(self, served):
        for method, path in (("GET", "/"), ("GET", "/about"), ("GET", "/nothing"), ("POST", "/about")):
            _, headers, _ = served.ask(method, path)
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'sha256-")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert not [name for name in headers if name.startswith("access-control")]

    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "evil.example:{port}"},
            {"Host": "127.0.0.1.evil.example:{port}"},
            {"Host": "localhost"},
            {"Host": "localhost:1"},
            {"Host": ""},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
        ],
        ids=str,
    )
    def test_strangers_get_nothing(self, served, headers):
        given = {name: value.format(port=served.port) for name, value in headers.items()}
        for method, path in (("GET", "/about"), ("POST", "/search"), ("GET", "/picture/0")):
            status, _, content = served.ask(method, path, **given)
            assert (status, b"own page alone" in content) == (403, True)
        assert served.ask("GET", "/", **given)[0] == (403 if "Host" in headers else 200)

    def test_own_names_are_answered(self, served):
        for host in ("127.0.0.1", "localhost", "[::1]", "LocalHost"):
            own = f"{host}:{served.port}"
            assert served.ask("GET", "/about", Host=own, Origin=f"http://{own}", Sec_Fetch_Site="same-origin")[0] == 200

    def test_other_methods_and_kinds(self, served):
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            for path in ("/", "/about", "/search", "/picture/0"):
                assert served.ask(method, path)[0] == 405
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""):
            assert served.ask("POST", "/search", b"{}", Content_Type=kind)[0] == 415
        for kind in ("APPLICATION/JSON", "application/Json ; charset=utf-8"):
            assert served.ask("POST", "/search", b'{"text": "a"}', Content_Type=kind)[0] == 200
        picture = (served.folder / "photos" / "007.png").read_bytes()
        assert served.ask("POST", "/search", picture, Content_Type="Image/PNG")[0] == 200
        for k in ("0", "101", "-1", "x", "\u0663", "1e9", ""):
            assert served.ask("POST", f"/search?k={k.encode().hex() if not k.isascii() else k}", b"{}")[0] in (400, 415)
            assert (
                served.ask(
                    "POST",
                    f"/search?k={k}" if k.isascii() else "/search?k=%D9%A3",
                    b"{}",
                    Content_Type="application/json",
                )[0]
                == 400
            )

    @pytest.mark.parametrize(
        "body",
        [b"", b"[]", b"{}", b'{"text": 1}', b'{"text": "  "}', b'{"text": "\\ud800"}', b"[" * 9000, b"\xff"],
        ids=repr,
    )
    def test_no_text(self, served, body):
        status, _, content = served.ask("POST", "/search", body, Content_Type="application/json")
        assert (status, "with some text; type one" in json.loads(content)["error"]) == (400, True)

    def test_path_tricks(self, served, home):
        (home / "secret.png").write_bytes((home / "photos" / "000.png").read_bytes())
        paths = ["/../secret.png", "/secret.png", "/picture/../secret.png", "/picture/%2e%2e%2fsecret.png"]
        paths += ["/picture/secret.png", "/picture/-1", "/picture/100000", "/picture/0%00", "/picture/photos/000.png"]
        paths += [f"//{home}/secret.png", "/picture/0/../../secret.png", "/picture/1e3", "/page.html", "/picture/0.png"]
        for path in paths:
            assert served.ask("GET", path)[0] == 404, path
        assert served.ask("GET", "/picture/" + "9" * 5000)[0] in (400, 404)

    @pytest.mark.parametrize(
        ("what", "content"),
        [
            ("empty", b""),
            ("text", b"no picture"),
            ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>"),
            ("cut off", png(300, 300, 10)[:-30]),
            ("bomb", png(9000, 9000, 9000 * 1126)),
            ("claim", png(2**31 - 1, 2**31 - 1, 10)),
        ],
    )
    def test_broken_pictures_and_bombs(self, served, what, content):
        before = served.peak()
        status, found = served.search(content)
        assert (status, found["error"].startswith("a picture must be whole, of at most 67 million pixels")) == (
            400,
            True,
        )
        assert "0x" not in found["error"]
        assert served.peak() - before < 60
        assert served.search("letter")[0] == 200

    @pytest.mark.parametrize("is_told", [True, False], ids=["with its length", "in chunks"])
    def test_a_hundred_megabytes(self, served, is_told):
        """Refused before it is read, or as soon as it is too long."""
        before, begin, n, answer = served.peak(), time.monotonic(), 0, b""
        length = "Content-Length: 100000000" if is_told else "Transfer-Encoding: chunked"
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as link:
            head = f"POST /search HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Type: image/png"
            link.sendall(f"{head}\r\n{length}\r\n\r\n".encode())
            link.setblocking(False)
            part = bytes(1_000_000) if is_told else b"f4240\r\n" + bytes(1_000_000) + b"\r\n"
            while n < 100_000_000 and not answer:
                try:
                    n += link.send(part[n % len(part) :])
                except BlockingIOError:
                    time.sleep(0.001)
                except OSError:
                    break
                with suppress(BlockingIOError):
                    answer = link.recv(1000)
            assert answer.startswith(b"HTTP/1.1 413 ")
        assert n < (8e6 if is_told else 45e6)
        assert time.monotonic() - begin < 5
        assert served.peak() - before < 120
        assert (
            served.ask("POST", "/search", json.dumps({"text": "x" * 20_000}), Content_Type="application/json")[0] == 413
        )

    def test_two_hundred_at_once(self, served, home, glyphs):
        picture = (home / "photos" / "007.png").read_bytes()
        alone = [served.search(item) for item in (glyphs.names[7], picture)]
        with ThreadPoolExecutor(200) as pool:
            found = list(pool.map(served.search, [glyphs.names[7], picture] * 100))
        assert found == alone * 100

    def test_a_client_that_leaves_ends_nothing(self, served):
        with socket.create_connection(("127.0.0.1", served.port)) as link:
            head = f"POST /search HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Type: image/png\r\n"
            link.sendall(f"{head}Content-Length: 1000\r\n\r\nxx".encode())
        assert served.search("letter")[0] == 200


class TestCommand:
    def test_refusals(self, home, call, monkeypatch, tmp_path):
        monkeypatch.chdir(home)
        code, _, err = call("serve", "photos")
        assert (code, "photos is no index; pass a folder that `c3align index` wrote" in err) == (2, True)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            code, _, err = call("serve", "idx", "--port", port)
        assert (code, f"port {port} must be free" in err) == (2, True)
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "index.json").write_bytes((home / "idx" / "index.json").read_bytes())
        code, _, err = call("serve", tmp_path / "new", "--port", 0)
        assert (code, "holds nothing yet; run `c3align index` again" in err) == (2, True)

    def test_an_index_without_calibration(self, home, call, tmp_path):
        import shutil

        from c3align.search import LanceStore

        shutil.copytree(home / "idx", tmp_path / "idx")
        store = LanceStore(tmp_path / "idx")
        store.set_about({name: value for name, value in store.about().items() if name != "calibration"})
        code, _, err = call("serve", tmp_path / "idx", "--port", 0)
        assert (code, "the calibration of the index is damaged" in err) == (2, True)


def test_the_page_has_the_colours_of_the_report():
    html = PAGE.read_text()
    for palette in (LIGHT, DARK):
        for name in ("m0", "m1", "m2", "m3", "m4", "m5", "ink", "muted", "grid", "page", "card"):
            assert f"--{name}: {palette[name].upper()};" in html.replace(palette[name], palette[name].upper())
    assert not re.search(r"https?://|@import|url\(|innerHTML|insertAdjacentHTML|document\.write|style=", html)


UNTIL = "new Promise(r => {{ const w = () => {} ? r() : setTimeout(w, 20); w(); }})"
FOUND = UNTIL.format("found && !byId('found').hidden && !byId('found').ariaBusy")
READY, WRONG = UNTIL.format("about"), UNTIL.format("!byId('problem').hidden")
DRAWN = UNTIL.format("[...document.images].every(i => i.complete)")
SHOWN = "[...document.querySelectorAll('#results .name')].map(e => e.textContent)"
DROP = """(async () => {
  const bytes = Uint8Array.from(atob('%s'), (c) => c.charCodeAt(0)), transfer = new DataTransfer();
  transfer.items.add(new File([bytes], 'x.png', { type: 'image/png' }));
  found = null;
  document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
})()"""


def typed(opened, text):
    """Type a text and press Enter, as a hand does."""
    opened.value(READY)
    opened.value("found = null; byId('text').value = ''; byId('text').focus()")
    opened.call("Input.insertText", text=text)
    for kind in ("keyDown", "keyUp"):
        opened.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    opened.value(FOUND)


def test_in_a_browser(served, home, glyphs):
    url = f"http://127.0.0.1:{served.port}/"
    with browser.Browser(browser.find()) as opened:
        opened.open(url)
        typed(opened, glyphs.names[7])
        ways = served.search(glyphs.names[7])[1]["ways"]
        assert opened.value(SHOWN) == [hit["id"] for hit in ways["fair"]]
        pictures = "w => [w.querySelector('b').textContent, w.querySelectorAll('.k0').length]"
        squares = opened.value(f"[...document.querySelectorAll('.way')].map({pictures})")
        images = {way: sum(hit["id"].startswith("photos") for hit in hits) for way, hits in ways.items()}
        assert dict(squares) == images
        for _ in range(2):  # from fair to centered to raw, by the arrow keys
            opened.value("document.querySelector('[name=way]:checked').focus()")
            for kind in ("keyDown", "keyUp"):
                opened.call(
                    "Input.dispatchKeyEvent", type=kind, key="ArrowUp", code="ArrowUp", windowsVirtualKeyCode=38
                )
        assert opened.value("document.querySelector('[name=way]:checked').value") == "raw"
        assert opened.value(SHOWN) == [hit["id"] for hit in ways["raw"]]
        assert opened.value("byId('said').textContent").startswith(f"12 results by raw scores: {images['raw']} image, ")
        opened.value(DROP % base64.b64encode((home / "photos" / "007.png").read_bytes()).decode())
        opened.value(FOUND)
        assert opened.value(SHOWN)[0] == "photos/007.png"
        opened.value(DRAWN)
        assert set(opened.value("[...document.images].map(i => i.naturalWidth)")) == {32}
        assert opened.complaints() == []
        assert {request.split("/")[2] for request in opened.requests() if not request.startswith("blob:")} == {
            url.split("/")[2]
        }
        opened.value(DROP % base64.b64encode(b"broken").decode())
        opened.value(WRONG)
        assert opened.value("byId('problem').textContent").startswith("A picture must be whole")
        opened.value("askPicture(new File([new Uint8Array(1e8)], 'x.png', { type: 'image/png' }))")
        assert "at most 33 MB, and this one is 100 MB" in opened.value("byId('problem').textContent")

        grounds = []
        for width, dark in ((1280, True), (360, False)):
            opened.open(url, width=width, dark=dark)
            typed(opened, "<img src=x onerror=alert(1)>")
            assert opened.value("document.documentElement.scrollWidth") <= width
            grounds.append(opened.value("getComputedStyle(document.body).backgroundColor"))
            assert opened.value("document.querySelector('#asked').textContent") == "“<img src=x onerror=alert(1)>”"
            assert opened.complaints() == []
        assert grounds == ["rgb(15, 19, 23)", "rgb(251, 251, 250)"]
        named = "e.labels?.length || e.textContent || e.alt || e.ariaLabel"
        unnamed = f"[...document.querySelectorAll('input, select, button, img')].filter(e => !({named})).length"
        assert opened.value(unnamed) == 0
