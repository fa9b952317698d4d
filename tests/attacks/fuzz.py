"""Files changed at random and loaded by the thousand: `make fuzz`, or `python -m tests.attacks.fuzz --help`.

Every input is a function of its number, so that what was found is found again: `--door picture --first 12 --inputs 1`.
What breaks a promise is kept under build/fuzz. With --atheris, where that is installed, coverage leads the changes.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from c3align.errors import C3AlignError
from tests.attacks import honest, loaders, sandbox
from tests.attacks.server import REPOSITORY, SECONDS

FOUND = REPOSITORY / "build" / "fuzz"
BATCH = 200  # inputs of one child
MOST_MEGABYTES = 200
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40)
WORDS = (
    b"0",
    b"-1",
    b"99999999999",
    b"1e999",
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"../",
    b"file:///etc",
    b"\x1b[2J",
)
HARNESS = "spec.txt"  # which only tells the loader what to load


def changed(content: bytes, number: int) -> bytes:
    """A file changed in one to four places, as `number` says."""
    rng = random.Random(number)
    for _ in range(rng.randint(1, 4)):
        content = rng.choice(CHANGES)(bytearray(content or b"\0"), rng)
    return content


def flip(content: bytearray, rng: random.Random) -> bytes:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def number(content: bytearray, rng: random.Random) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    start = rng.randrange(len(content))
    value = rng.choice(NUMBERS) % (1 << 8 * size)
    content[start : start + size] = value.to_bytes(size, rng.choice(("little", "big")))
    return bytes(content)


def word(content: bytearray, rng: random.Random) -> bytes:
    """In place of a run of digits or letters, where there is one."""
    start = rng.randrange(len(content))
    stop = start
    while stop < min(len(content), start + 20) and chr(content[stop]).isalnum():
        stop += 1
    content[start:stop] = rng.choice(WORDS)
    return bytes(content)


def cut(content: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    del content[start : rng.choice((len(content), start + rng.randint(1, 64)))]
    return bytes(content)


def repeat(content: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    part = content[start : start + rng.randint(1, 256)]
    content[start:start] = part * rng.randint(1, 8)
    return bytes(content)


def noise(content: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    part = rng.randbytes(rng.randint(1, 32))
    content[start : start + len(part)] = part
    return bytes(content)


CHANGES = (flip, number, word, cut, repeat, noise)


class Door:
    """A loader and its honest files, any of which may be changed."""

    def __init__(self, loader: str, build: Callable[[Path], Path], own: Path) -> None:
        self.load, self.own = loaders.LOADERS[loader], own
        self.is_signed = loader in honest.SIGNED
        self.given = build(own)
        files = [path for path in sorted(own.rglob("*")) if path.is_file() and path.name != HARNESS]
        self.files = {path: path.read_bytes() for path in files}

    def input(self, number: int) -> tuple[Path, bytes]:
        """The file that is changed, and what becomes of it."""
        path = random.Random(-number).choice([*self.files])
        return path, changed(self.files[path], number)

    def problem(self, number: int) -> str | None:
        """What is wrong with how an input was taken."""
        path, content = self.input(number)
        path.write_bytes(content)
        try:
            self.load(self.given)
        except (C3AlignError, OSError) as error:
            message = str(error)
            return None if message.isprintable() else f"not one printable line: {message!r}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        finally:
            path.write_bytes(self.files[path])
        return "it was changed, and loaded" if self.is_signed and content != self.files[path] else None

    def child(self, numbers: range) -> tuple[int, int]:
        """A sandboxed process that takes inputs, and what it will say of each is read from."""
        reader, writer = os.pipe()
        process = os.fork()
        if process:
            os.close(writer)
            return process, reader
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        os.chdir(self.own)
        warnings.simplefilter("ignore")
        tried = sandbox.enter(self.own, REPOSITORY)
        for number in numbers:
            before = _highest()
            try:
                problem = self.problem(number)
            except BaseException as error:
                problem = f"{type(error).__name__}: {error}"
            grown = _highest() - before
            problem = problem or ("; ".join(tried) if tried else None)
            problem = problem or (f"{grown:.0f} MB" if grown > MOST_MEGABYTES else None)
            tried.clear()
            os.write(writer, f"{(problem or '')!r}\n".encode())
        os._exit(0)

    def problems(self, numbers: range) -> Iterator[tuple[int, str | None]]:
        """What is wrong with each input; a child that dies or hangs is followed by another."""
        place = 0
        while place < len(numbers):
            process, reader = self.child(numbers[place:])
            for line in _lines(reader):
                yield numbers[place], line
                place += 1
            os.close(reader)
            os.kill(process, signal.SIGKILL)
            status = os.waitpid(process, 0)[1]
            if place < len(numbers):
                end = os.WTERMSIG(status)
                hung = f"takes over {SECONDS} s" if end == signal.SIGKILL else f"ends by {signal.Signals(end).name}"
                yield numbers[place], hung
                place += 1
                for path, content in self.files.items():
                    path.write_bytes(content)


def _highest() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def _lines(reader: int) -> Iterator[str | None]:
    rest, end = b"", time.monotonic() + SECONDS
    while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(reader, 1 << 16)
        if not part:
            return
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            end = time.monotonic() + SECONDS
            yield line.decode()[1:-1] or None


def run(door: str | None, first: int, n_inputs: int, minutes: float) -> int:
    """Try inputs on every door; returns how many broke a promise."""
    loaders.warm()
    chosen = [(loader, build) for loader, build in honest.HONEST if door in (None, loader)]
    n_found = 0
    with tqdm(total=n_inputs * len(chosen), unit="input", disable=None) as bar:
        for loader, build in chosen:
            with tempfile.TemporaryDirectory() as own:
                tried = Door(loader, build, Path(own))
                kinds: set[str] = set()
                bar.set_description(loader)
                start, stop, end = first, first + n_inputs, time.monotonic() + 60 * minutes
                while start < stop and time.monotonic() < end:
                    batch = range(start, min(start + BATCH, stop))
                    for number, problem in tried.problems(batch):
                        bar.update()
                        if problem:
                            n_found += 1
                            _keep(loader, tried, number, problem, kinds)
                    start = batch.stop
                tqdm.write(f"{loader}: {start - first:,} inputs")
    return n_found


def _keep(loader: str, door: Door, number: int, problem: str, kinds: set[str]) -> None:
    """Say what is new, and keep the file."""
    kind = problem[:50]
    if kind in kinds:
        return
    kinds.add(kind)
    path, content = door.input(number)
    FOUND.mkdir(parents=True, exist_ok=True)
    (FOUND / f"{loader}-{number}-{path.name}").write_bytes(content)
    tqdm.write(f"{loader} {number} {path.relative_to(door.own)}: {problem[:300]}")


def lead(door: str, n_inputs: int) -> None:
    """Let atheris choose the changes by the lines of c3align that they reach; it ends at the first problem."""
    import atheris

    loaders.warm()
    for module in [module for name, module in sys.modules.items() if name.startswith("c3align.")]:
        for name, found in vars(module).items():
            if isinstance(found, types.FunctionType) and found.__module__ == module.__name__:
                setattr(module, name, atheris.instrument_func(found))
    loader, build = next(found for found in honest.HONEST if found[0] == door)
    own = Path(tempfile.mkdtemp())
    tried = Door(loader, build, own)
    path = max(tried.files, key=lambda path: len(tried.files[path]))
    corpus = own / "corpus"
    corpus.mkdir()
    shutil.copy(path, corpus)
    warnings.simplefilter("ignore")

    def one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            tried.load(tried.given)
        except (C3AlignError, OSError) as error:
            if not str(error).isprintable():
                raise AssertionError("not one printable line") from error

    FOUND.mkdir(parents=True, exist_ok=True)
    limits = [f"-runs={n_inputs}", f"-timeout={SECONDS}", f"-artifact_prefix={FOUND}{os.sep}{loader}-"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--door", help="one loader only: " + ", ".join(honest.KINDS))
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--inputs", type=int, default=7000, help="of each honest file (200,000 in all)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="at most, of each honest file")
    parser.add_argument("--atheris", action="store_true", help="coverage leads the changes; needs --door")
    asked = parser.parse_args()
    if asked.atheris:
        lead(asked.door, asked.inputs)
    n_found = run(asked.door, asked.first, asked.inputs, asked.minutes)
    print(
        f"{n_found} inputs broke a promise; {FOUND} holds one of each kind" if n_found else "no input broke a promise"
    )
    sys.exit(bool(n_found))


if __name__ == "__main__":
    main()
