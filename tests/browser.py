"""A real headless browser, driven by the DevTools protocol over two pipes: no driver, no port, no package.

`python -m tests.browser page.html shot.png [width] [dark]` takes a picture of a whole page.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)
SECONDS = 60


def find() -> str:
    """The browser's path, or a skip that says how to get one."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed; `make browser` as root, or apt-get install chromium")
    if subprocess.run([path, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"{path} does not start here; it may be a stub of a package that is not installed")
    return path


class Browser:
    """One page of a browser of its own, with all that it logged and asked for."""

    def __init__(self, path: str) -> None:
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        read, self._out = os.pipe()
        self._in, write = os.pipe()
        # the browser reads from 3 and writes to 4, which may be taken here
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read, write)]
        self._process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={self._home.name}", "about:blank"],
            preexec_fn=lambda: [os.dup2(end, number) for end, number in zip(ends, (3, 4))],
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (read, write, *ends):
            os.close(end)
        self._number, self._buffer, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(SECONDS)
        os.close(self._in)
        os.close(self._out)
        self._home.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found['error']}"
                return found["result"]
            self.events.append(found)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], SECONDS)
            part = os.read(self._in, 1 << 16) if ready else b""
            assert part, f"the browser said nothing for {SECONDS} s or ended ({self._process.poll()})"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path | str, *, width: int = 1280, dark: bool = False, scripts: bool = True) -> None:
        """Show a file or a URL, as wide as asked, and wait until it is loaded; `events` starts anew."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=2, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        begin = time.monotonic()
        while "Page.loadEventFired" not in [event["method"] for event in self.events]:
            assert time.monotonic() - begin < SECONDS, "the page was not loaded"
            self.events.append(self._next())

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def complaints(self) -> list[Any]:
        """Errors and warnings of the console, uncaught exceptions, and violations of the page's policy."""
        logged = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [event["params"] for event in self.events if event["method"] in logged]

    def requests(self) -> list[str]:
        """What was asked for, but for the page itself."""
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        urls = [params["request"]["url"] for params in sent if params.get("type") != "Document"]
        return [url for url in urls if not url.startswith("data:")]

    def picture(self, path: Path, height: int | None = None) -> None:
        """A PNG of the whole page, or of its first `height` pixels."""
        width = self.value("document.documentElement.clientWidth")
        full = self.value("document.documentElement.scrollHeight") if height is None else height
        clip = {"x": 0, "y": 0, "width": width, "height": full, "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


def main(page: str, shot: str, width: str = "1280", scheme: str = "light") -> None:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        sys.exit(f"none of {', '.join(NAMES)} is installed")
    with Browser(path) as browser:
        browser.open(Path(page), width=int(width), dark=scheme == "dark")
        browser.picture(Path(shot))


if __name__ == "__main__":
    main(*sys.argv[1:])
