"""What one item may ask for: a small file gets no gigabytes, whatever its header says.

A file may always hold so much; more than that it must pay for in bytes, as real photographs and recordings do many
times over; beyond a last bound somebody has to say that it is meant. A file that asks for more is an error of that
item, before it is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from c3align.errors import C3AlignError

__all__ = ["DECODED", "FRAMES", "MAX_FETCHED", "PIXELS", "SAMPLES", "Allowance", "item_errors"]

MAX_FETCHED = 1 << 30  # bytes of an item from a URL


class Allowance(NamedTuple):
    """How much of something a file of some size may hold."""

    free: int  # what every file may
    per_byte: int  # what each of its bytes adds
    most: int  # what none may
    fix: str  # how a person allows more

    def of(self, n_bytes: int, given: int | None) -> int:
        """The bound of a file of `n_bytes`; `given` by a person, it counts whatever the size."""
        return min(self.free + self.per_byte * n_bytes, self.most) if given is None else given

    def check(self, n: int, what: str, n_bytes: int, given: int | None) -> None:
        """Refuse `n` of `what`, such as "pixels"."""
        bound = self.of(n_bytes, given)
        if n > bound:
            raise C3AlignError(
                f"{n:,} {what} in a file of {n_bytes:,} bytes are more than the {bound:,} allowed; {self.fix}"
            )


_PIXELS_FIX = "remove it, or allow more with --max-pixels (max_pixels)"
# a page scanned at 600 dots an inch; photographs have 2 to 10 pixels a byte
PIXELS = Allowance(1 << 25, 32, 1 << 27, _PIXELS_FIX)
# those that are taken from a video
FRAMES = PIXELS._replace(most=1 << 50)
# six minutes at 48 kHz; speech at 12 kbit/s has 32 samples a byte
SAMPLES = Allowance(1 << 24, 32, 1 << 30, "remove it, or allow more with --max-samples (max_samples)")
# all frames that pass while those wanted are looked for: a minute of 1080p; still pictures as video have 10,000 a byte
DECODED = Allowance(1 << 32, 20_000, 1 << 50, _PIXELS_FIX)


@contextmanager
def item_errors(what: str) -> Iterator[None]:
    """Whatever a decoder raises becomes the item's own error, in one line."""
    try:
        yield
    except Exception as error:  # MemoryError and libav's kinds among them
        if isinstance(error, C3AlignError) or (isinstance(error, OSError) and str(error).isprintable()):
            raise
        raise C3AlignError(f"{what} cannot be read ({type(error).__name__}: {error}); check the file") from error
