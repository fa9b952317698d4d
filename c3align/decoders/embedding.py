"""`EmbeddingGenerator`: a small network that learns to draw from pictures alone, and then draws texts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align import _imports
from c3align._typing import Array
from c3align.decoders._projection import halfway
from c3align.decoders._rows import TrainingRows, checked_rows
from c3align.errors import C3AlignError
from c3align.io import container

if TYPE_CHECKING:
    from c3align.decoders._picture_net import PictureNet

__all__ = ["EmbeddingGenerator"]

FILE = "generator.safetensors"
MAX_DIMS, MAX_EDGE, MAX_CHANNELS, MAX_WIDTH = 1 << 16, 4096, 16, 1024


class EmbeddingGenerator:
    """Draws pictures from embeddings; language-free, as in C3's text-to-image experiment (section 5.1, after LAFITE).

    It learns pictures from their own embeddings, collapsed and corrupted, and never sees a text. Given aligned texts
    it draws them. One linear layer and a few convolutions, trained by the cross-entropy of pixels: for small pictures
    with one meaning each, such as `c3align.datasets.glyphs`; for photographs see `DiffusersGenerator`.

    Parameters
    ----------
    width : int
        Channels of the convolutions.

    Attributes
    ----------
    n_dims_ : int
        Dimension of the embeddings.
    shape_ : tuple of int
        Of a picture: (height, width) or (height, width, channels).
    losses_ : list of float
        Mean loss of each epoch, in nats per value.

    Examples
    --------
    >>> aligner = C3Aligner().fit(text, image)  # doctest: +SKIP
    >>> generator = EmbeddingGenerator().fit(image, pictures, aligner=aligner)  # doctest: +SKIP
    >>> drawn = generator.generate(aligner.transform(text, modality="text"))  # doctest: +SKIP
    """

    n_dims_: int
    shape_: tuple[int, ...]
    losses_: list[float]

    def __init__(self, *, width: int = 32) -> None:
        self.width = width
        self._net: PictureNet | None = None

    def fit(
        self,
        embeddings: Array,
        pictures: npt.NDArray[np.uint8] | Sequence[Any],
        *,
        aligner: Any = None,
        modality: str = "image",
        epochs: int = 25,
        batch_size: int = 64,
        lr: float = 2e-3,
        critic: Callable[[Any], Any] | None = None,
        critic_weight: float = 0.5,
        seed: int = 0,
        checkpoint: str | os.PathLike[str] | None = None,
        device: Any = None,
        progress: bool = True,
    ) -> EmbeddingGenerator:
        """Learn to draw; forgets what was learned before.

        Parameters
        ----------
        embeddings : (n_rows, n_dims) array or tensor
            Raw embeddings of `modality`; a memmap is read in blocks.
        pictures : (n_rows, height, width) or (n_rows, height, width, channels) uint8
            Picture i belongs to row i; an array or memmap, or a list of pictures of one size.
        aligner : C3Aligner, optional
            Collapses the rows, and corrupts them with fresh noise every epoch, a function of seed, epoch and row.
            Without one they are taken as they are, without noise.
        modality : str
            What the rows are. Rows that the aligner finds far from its mean, or clearly nearest to another
            modality's, are refused.
        epochs, batch_size : int
        lr : float
            Largest learning rate of AdamW; it rises for a tenth of the steps and falls to zero by a cosine.
        critic : callable, optional
            The encoder's image tower as a function of tensors: pictures (n, channels, height, width) in [0, 1] to
            embeddings (n, n_dims), through which gradients go; `GlyphEncoder.picture_tower` is one. A quarter of the
            pictures that are drawn in training must then also look to it like their own clean embedding, as in
            LAFITE: sharper, and recognised twice as often, for twice the time.
        critic_weight : float
            Of ``1 - cosine``, beside the cross-entropy.
        seed : int >= 0
            Of weights, noise and order. The same seed gives the same bits on one CPU and number of threads; no global
            generator is touched.
        checkpoint : path, optional
            A .safetensors file, replaced after every epoch. A run that finds one of its own goes on from there, to
            the same result.
        device : torch device or str, optional
        progress : bool
            Show a bar with the loss.

        Returns
        -------
        self

        Raises
        ------
        C3AlignError
            Rows of another modality, rows that are not finite, pictures that do not fit them, settings that cannot
            be, and a checkpoint of another run. What was learned before stays.
        """
        _check_counts(epochs=epochs, batch_size=batch_size, width=self.width)
        _check_settings(seed, lr, critic_weight)
        rows = TrainingRows(checked_rows(embeddings), aligner, modality, int(seed))
        stack = _pictures(pictures, len(rows))
        rows.check()
        training = _imports.need("c3align.decoders._picture_training", "torch", "encoders")
        schedule = training.Schedule(int(epochs), int(batch_size), float(lr))
        whole = stack if stack.ndim == 4 else stack[..., None]
        net = _built(rows.rows.shape[1], whole.shape[1:], self.width, int(seed)).to(device or "cpu")
        judge = None if critic is None else training.Critic(critic, float(critic_weight))
        run = training.PictureTraining(net, rows, whole, schedule, judge, Path(checkpoint) if checkpoint else None)
        run.run(progress)
        self._net, self.n_dims_, self.shape_ = net.eval(), rows.rows.shape[1], tuple(stack.shape[1:])
        self.losses_ = run.losses
        return self

    def generate(
        self,
        embeddings: Array,
        *,
        memory: Array | None = None,
        temperature: float = 0.02,
        batch_size: int = 64,
        device: Any = None,
        progress: bool = False,
    ) -> npt.NDArray[np.uint8]:
        """Draw.

        Parameters
        ----------
        embeddings : (n_rows, n_dims) array or tensor
            Aligned rows: what `C3Aligner.transform` returns, of any modality.
        memory : (m, n_dims) array or tensor, optional
            Aligned rows of pictures, such as those that `fit` saw. Each row is then drawn half way to the mean of
            those that lie near it (DeCap's projection, recipe R13): texts gain much, pictures nothing.
        temperature : float
            Of the mean's weights, ``exp(cosine / temperature)``.
        batch_size : int
            Rows at a time; a value changes with it by one grey level at most.
        device : torch device or str, optional
            The network moves there and stays.
        progress : bool
            Show a bar.

        Returns
        -------
        (n_rows, *shape_) uint8

        Raises
        ------
        NotFittedError
            Before `fit`.
        C3AlignError
            Rows of another width or that are not finite, with the first one's number.
        """
        import torch

        net = self._fitted()
        device = next(net.parameters()).device if device is None else device
        net.to(device)
        rows = checked_rows(embeddings, self.n_dims_)
        _check_counts(batch_size=batch_size)
        near = None if memory is None else checked_rows(memory, self.n_dims_).widened().astype(np.float32, copy=False)
        drawn = np.empty((rows.shape[0], *self.shape_), np.uint8)
        bar = tqdm(range(0, len(drawn), batch_size), disable=not progress, unit="batch", desc="draw")
        with torch.inference_mode():
            for start in bar:
                block = rows.take(slice(start, start + batch_size)).widened().astype(np.float32, copy=False)
                block = block if near is None else halfway(block, near, temperature)
                pixels = net(torch.from_numpy(block).to(device)).sigmoid().mul(255).round().byte()
                drawn[start : start + len(block)] = pixels.movedim(1, -1).cpu().numpy().reshape(-1, *self.shape_)
        return drawn

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `generator.safetensors`, which is the whole of it, and a readable `config.json`."""
        config = {
            "format": "c3align.EmbeddingGenerator",
            "format_version": 1,
            "losses": self.losses_,
            "n_dims": self.n_dims_,
            "shape": list(self.shape_),
            "width": int(self.width),
        }
        container.write_folder(folder, FILE, container.dump(self._fitted().state_dict(), config), config)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> EmbeddingGenerator:
        """Read what `save_pretrained` wrote.

        Raises
        ------
        FormatError
            A file that is damaged or is no generator, with the reason; no code in it can run.
        """
        import torch

        config, tensors = container.read_decoder(folder, FILE, "c3align.EmbeddingGenerator")
        n_dims, shape, width = _checked(config)
        whole = shape if len(shape) == 3 else (*shape, 1)
        with torch.device("meta"):  # shapes alone: a file that lies gets no memory
            net = _net(n_dims, whole, width)
        container.check_tensors(tensors, container.layout(net.state_dict()), "decoder")
        net.load_state_dict(tensors, assign=True)
        generator = cls(width=width)
        generator._net, generator.n_dims_, generator.shape_ = net.eval(), n_dims, shape
        generator.losses_ = config["losses"]
        return generator

    def _fitted(self) -> PictureNet:
        if self._net is None:
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this generator has learned nothing yet; call fit(embeddings, pictures)")
        return self._net


def _net(n_dims: int, shape: tuple[int, ...], width: int) -> Any:
    module = _imports.need("c3align.decoders._picture_net", "torch", "encoders")
    return module.PictureNet(n_dims, shape, width)


def _built(n_dims: int, shape: tuple[int, ...], width: int, seed: int) -> Any:
    """A network with weights that follow from the seed, and the global generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _net(n_dims, shape, width)


def _pictures(pictures: Any, n_rows: int) -> npt.NDArray[np.uint8]:
    """Pictures (n_rows, height, width[, channels]) uint8, a view where they are an array already."""
    try:
        stack = pictures if isinstance(pictures, np.ndarray) else np.stack([np.asarray(p) for p in pictures])
    except ValueError as error:
        raise C3AlignError(f"the pictures cannot be stacked ({error}); resize them to one size and mode") from error
    if stack.dtype != np.uint8 or stack.ndim not in (3, 4):
        raise C3AlignError(
            f"the pictures are {stack.dtype} {stack.shape}; pass uint8 (n, height, width) or (n, height, width, "
            "channels)"
        )
    if len(stack) != n_rows or not stack.size:
        raise C3AlignError(f"there are {n_rows} embeddings and {len(stack)} pictures; pass a picture for every row")
    return stack


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise C3AlignError(f"{name}={value!r} cannot be; pass an integer of 1 or more")


def _check_settings(seed: int, lr: float, critic_weight: float) -> None:
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**64:
        raise C3AlignError(f"seed={seed!r} does not fit; pass an integer in [0, 2**64)")
    if not (lr > 0 and math.isfinite(lr)):
        raise C3AlignError(f"lr={lr!r} cannot be; pass a positive number")
    if not (critic_weight >= 0 and math.isfinite(critic_weight)):
        raise C3AlignError(f"critic_weight={critic_weight!r} cannot be; pass a number of 0 or more")


def _checked(config: dict[str, Any]) -> tuple[int, tuple[int, ...], int]:
    """Dimension, shape and width of a saved generator, within bounds."""
    keys = {"format", "format_version", "losses", "n_dims", "shape", "width"}
    if set(config) != keys:
        raise container.refusal(
            "decoder", f"its configuration has unknown or missing keys ({sorted(set(config) ^ keys)})"
        )
    n_dims, shape, width = config["n_dims"], config["shape"], config["width"]
    limits = [(n_dims, MAX_DIMS), (width, MAX_WIDTH)]
    if not isinstance(shape, list) or len(shape) not in (2, 3):
        raise container.refusal("decoder", f"pictures of shape {shape!r}")
    limits += list(zip(shape, (MAX_EDGE, MAX_EDGE, MAX_CHANNELS)))
    if not all(type(value) is int and 1 <= value <= limit for value, limit in limits):
        raise container.refusal(
            "decoder", f"a dimension of {n_dims!r}, pictures of shape {shape!r} or a width of {width!r}"
        )
    if not isinstance(config["losses"], list) or not all(isinstance(loss, float) for loss in config["losses"]):
        raise container.refusal("decoder", "its losses are not numbers")
    return n_dims, tuple(shape), width
