"""`EmbeddingGenerator`: a small network that learns to draw from pictures alone, and then draws what texts say."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align import ops
from c3align._arguments import check_number, check_seed, check_whole
from c3align._imports import need
from c3align._typing import Array
from c3align.decoders.captions import Skipped, usable
from c3align.decoders.place import Place
from c3align.decoders.retrieval import Memory
from c3align.errors import C3AlignError
from c3align.io import container, hub
from c3align.io.rows import RowSource
from c3align.training.rows import TrainingRows, checked_rows
from c3align.training.settings import Training

if TYPE_CHECKING:
    from c3align.decoders.pictures.task import PictureNet

FILE, FORMAT = "generator.safetensors", "c3align.EmbeddingGenerator"
KEYS = {"encoder_fingerprint", "losses", "modality", "n_dims", "shape", "width"}  # of its configuration
MAX_DIMS, MAX_EDGE, MAX_CHANNELS, MAX_WIDTH = 1 << 16, 4096, 16, 1024


class EmbeddingGenerator:
    """Draw pictures from embeddings; language-free, as in C3's text-to-image experiment (section 5.1, after LAFITE).

    It learns pictures from their own embeddings, collapsed and corrupted, and never sees a text, yet draws aligned
    texts. One linear layer and a few convolutions, trained by the cross-entropy of pixels: for small pictures with one
    meaning each, such as `c3align.datasets.glyphs`; for photographs see `DiffusersGenerator`.

    Parameters
    ----------
    width : int
        Number of channels of the convolutions.

    Attributes
    ----------
    n_dims : int or None
        Dimension of the rows; None before `fit`.
    shape_ : tuple of int
        Shape of a picture: (height, width) or (height, width, channels).
    losses_ : list of float
        Mean loss of each epoch, in nats per value.
    modality_ : str
        The modality that it learned from.
    encoder_fingerprint_ : str or None
        The encoder of the rows that it learned from, if its aligner knew.
    skipped : list of Skipped
        Rows not used in the last `fit`, with ``on_error="skip"``.

    Examples
    --------
    >>> aligner = C3Aligner().fit(text, image)  # doctest: +SKIP
    >>> generator = EmbeddingGenerator().fit(image, pictures, aligner=aligner)  # doctest: +SKIP
    >>> drawn = generator.generate(aligner.transform(text, modality="text"))  # doctest: +SKIP
    """

    takes: ClassVar[Literal["aligned"]] = "aligned"
    modality_: str = "image"
    encoder_fingerprint_: str | None = None
    shape_: tuple[int, ...]
    skipped: list[Skipped]
    losses_: list[float]

    def __init__(self, *, width: int = 32) -> None:
        self.width = width
        self.n_dims: int | None = None
        self.skipped = []
        self._net: PictureNet | None = None
        self._place: Place | None = None

    def fit(
        self,
        rows: Array,
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
        on_error: str = "raise",
    ) -> EmbeddingGenerator:
        """Learn to draw; forget what was learned before.

        Parameters
        ----------
        rows : (n_rows, n_dims) array or tensor
            Raw embeddings of `modality`; a memmap is read in blocks.
        pictures : (n_rows, height, width[, channels]) uint8, or a list of pictures of one size
            Picture i belongs to row i.
        aligner : C3Aligner, optional
            Collapses the rows, and adds noise of seed, epoch and row; without one they are used as they are.
        modality : str
            Modality of the rows; rows far from its mean, or clearly nearest to another's, are refused.
        epochs, batch_size : int
            Number of passes over the rows, and of rows per step.
        lr : float
            Largest learning rate of AdamW; it rises for a tenth of the steps and falls to zero by a cosine.
        critic : callable, optional
            The encoder's image tower as a differentiable function of tensors: pictures (n, channels, height, width) in
            [0, 1] to embeddings (n, n_dims), such as `GlyphEncoder.picture_tower`. A quarter of the pictures drawn in
            training must then also be embedded near their own clean embedding, as in LAFITE: they become sharper, and
            are recognized twice as often, for twice the time.
        critic_weight : float
            Weight of ``1 - cosine`` relative to the cross-entropy.
        seed : int >= 0
            Seed of weights, noise and order; the same bits on one CPU and number of threads.
        checkpoint : str or path, optional
            A .safetensors file, replaced after every epoch; a checkpoint of this run is resumed to the same result.
        device : torch device or str, optional
            Where to train; by default on the CPU.
        progress, on_error : optional
            As in `PrefixCaptioner.fit`.

        Returns
        -------
        EmbeddingGenerator
            Itself.

        Raises
        ------
        C3AlignError
            Rows of another modality or not finite, pictures that do not fit them, settings out of range, a checkpoint
            of another run. What was learned before stays.
        """
        settings = Training(epochs, batch_size, check_number("lr", lr, above=True), schedule="cosine", warmup=0.1)
        seed, width = check_seed(seed), check_whole("width", self.width, 1, MAX_WIDTH)
        weight = check_number("critic_weight", critic_weight)
        source = TrainingRows(checked_rows(rows), aligner, modality, seed)
        source, stack, skipped = usable(source, _pictures(pictures, len(source)), on_error)
        _check_size(source.rows.shape[1], stack.shape[1:], width)
        module, loop = need("c3align.decoders.pictures.task", "torch"), need("c3align.training.loop", "torch")
        whole = stack if stack.ndim == 4 else stack[..., None]
        task = module.PictureTask(source, whole, settings.batch_size, module.Critic.of(critic, weight))
        net = _built(source.rows.shape[1], whole.shape[1:], width, seed).to(device or "cpu")
        one, path = loop.OneProcess(device or "cpu"), None if checkpoint is None else Path(checkpoint)
        run = loop.Loop(net, task, None, settings, seed, one, None, path, progress)
        run.run()
        self._net, self.n_dims, self.shape_ = net, source.rows.shape[1], tuple(stack.shape[1:])
        self.losses_, self.modality_, self._place, self.skipped = run.losses, modality, Place.of(source), skipped
        self.encoder_fingerprint_ = getattr(aligner, "encoder_fingerprint_", None)
        return self

    def generate(
        self,
        rows: Array,
        *,
        memory: Array | None = None,
        temperature: float = 0.02,
        seed: int = 0,
        row_offset: int = 0,
        batch_size: int = 64,
        device: Any = None,
        progress: bool = False,
    ) -> npt.NDArray[np.uint8]:
        """Draw a picture of each row.

        Parameters
        ----------
        rows : (n_rows, n_dims) array or tensor
            Aligned rows: what `C3Aligner.transform` returns, of any modality.
        memory : (m, n_dims) array or tensor, optional
            Aligned rows of pictures, such as those that `fit` saw. Each row is then moved half way to the mean of those
            near it (DeCap's projection): texts gain much, pictures nothing.
        temperature : float
            The mean's weights are ``exp(cosine / temperature)``.
        seed, row_offset : int
            Ignored: nothing is drawn at random.
        batch_size : int
            Number of rows at a time; it changes a value by at most one gray level.
        device : torch device or str, optional
            Where to compute; the network stays there.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        (n_rows, *shape_) uint8
            NumPy array of pictures.

        Raises
        ------
        NotFittedError
            Before `fit`.
        C3AlignError
            Rows of another width, that are not finite, with the first one's number, or that are not aligned.
        """
        import torch

        net = self._fitted()
        device = next(net.parameters()).device if device is None else device
        net.to(device)
        checked = checked_rows(rows, self.n_dims)
        near = None if memory is None else _memory_of(memory, self.n_dims)
        check_number("temperature", temperature, above=True)
        drawn = np.empty((checked.shape[0], *self.shape_), np.uint8)
        starts = range(0, len(drawn), check_whole("batch_size", batch_size))
        for start in tqdm(starts, disable=not progress, unit="batch", desc="draw"):
            block = checked.take(slice(start, start + batch_size)).widened().astype(np.float32, copy=False)
            if self._place is not None:
                self._place.check(block, self.modality_)
            block = block if near is None else _halfway(block, near, temperature)
            with torch.inference_mode():
                pixels = net(torch.from_numpy(block).to(device)).sigmoid().mul(255).round().byte()
            drawn[start : start + len(block)] = pixels.movedim(1, -1).cpu().numpy().reshape(-1, *self.shape_)
        return drawn

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `generator.safetensors`, which is complete, and a readable `config.json`.

        Parameters
        ----------
        folder : str or path
            Created if it does not exist.
        """
        weights = self._fitted().state_dict()
        config = {
            "format": FORMAT,
            "format_version": container.SIGNED_SINCE,
            "losses": self.losses_,
            "n_dims": self.n_dims,
            "shape": list(self.shape_),
            "width": int(self.width),
            "modality": self.modality_,
            "encoder_fingerprint": self.encoder_fingerprint_,
        }
        place = {} if self._place is None else self._place.tensors()
        content = container.dump({**weights, **place}, config)
        container.write_folder(folder, FILE, content, config)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **options: Any) -> EmbeddingGenerator:
        """Load what `save_pretrained` wrote.

        Parameters
        ----------
        folder : str or path
            A folder if it exists, else "owner/name" on the Hugging Face Hub. `FormatError` with the reason if it is
            damaged or no generator; no code in it can run.
        **options : optional
            As ``**hub`` of `C3Aligner.from_pretrained`.
        """
        folder = hub.folder(folder, hub.DECODER, **options)
        older: dict[str, Any] = {"modality": "image", "encoder_fingerprint": None}
        config, tensors = container.read_decoder(folder, FILE, FORMAT, KEYS, **older)
        n_dims, shape, width = _checked(config)
        place = Place.taken_from(tensors, n_dims)
        with need("torch", "torch").device("meta"):  # shapes alone: a file that lies gets no memory
            net = need("c3align.decoders.pictures.task", "torch").PictureNet(n_dims, (*shape, 1)[:3], width)
        container.check_tensors(tensors, container.layout(net.state_dict()), "decoder")
        net.load_state_dict(tensors, assign=True)
        generator = cls(width=width)
        generator._net, generator.n_dims, generator.shape_ = net.eval(), n_dims, shape
        generator.losses_, generator.modality_, generator._place = config["losses"], config["modality"], place
        generator.encoder_fingerprint_ = config["encoder_fingerprint"]
        return generator

    def _fitted(self) -> PictureNet:
        if self._net is None:
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this generator has learned nothing yet; call fit(rows, pictures)")
        return self._net


def _checked(config: dict[str, Any]) -> tuple[int, tuple[int, ...], int]:
    """Dimension, shape and width of a saved generator, within bounds."""
    n_dims, shape, width = config["n_dims"], config["shape"], config["width"]
    if not isinstance(shape, list) or len(shape) not in (2, 3):
        raise container.refusal("decoder", f"pictures of shape {shape!r}")
    if not _are_within(n_dims, shape, width):
        wrong = f"a dimension of {n_dims!r}, pictures of shape {shape!r} or a width of {width!r}"
        raise container.refusal("decoder", wrong)
    if not isinstance(config["losses"], list) or not all(isinstance(loss, float) for loss in config["losses"]):
        raise container.refusal("decoder", "its losses are not numbers")
    if not isinstance(config["encoder_fingerprint"], str | None):
        raise container.refusal("decoder", "its encoder fingerprint is not a text")
    return n_dims, tuple(shape), width


def _are_within(n_dims: Any, shape: Sequence[Any], width: Any) -> bool:
    """Whether dimension, shape and width of a generator are of a size that it can be loaded with."""
    limits = [(n_dims, MAX_DIMS), (width, MAX_WIDTH), *zip(shape, (MAX_EDGE, MAX_EDGE, MAX_CHANNELS))]
    return all(type(value) is int and 1 <= value <= limit for value, limit in limits)


def _check_size(n_dims: int, shape: tuple[int, ...], width: int) -> None:
    if not _are_within(n_dims, shape, width):
        raise C3AlignError(
            f"rows of {n_dims} dimensions and pictures {shape} are more than the largest, {MAX_DIMS} and "
            f"{(MAX_EDGE, MAX_EDGE, MAX_CHANNELS)}; pass smaller ones"
        )


def _built(n_dims: int, shape: tuple[int, ...], width: int, seed: int) -> Any:
    """A network whose weights follow from the seed; the global generator is not changed."""
    import torch

    from c3align.decoders.pictures.task import PictureNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PictureNet(n_dims, shape, width)


def _memory_of(rows: Array, n_dims: int | None) -> Memory:
    wide = checked_rows(rows, n_dims).widened().astype(np.float32)
    return Memory(RowSource.of(ops.normalize(wide, zero_rows="keep")), [])


def _halfway(rows: npt.NDArray[np.float32], memory: Memory, temperature: float) -> npt.NDArray[np.float32]:
    """Rows half way to their projection onto a memory.

    The projection alone loses what no row of the memory has; the row alone lies where none of them is.
    """
    unit = ops.normalize(rows, zero_rows="keep")
    return np.asarray(ops.normalize(unit + memory.project(unit, temperature), zero_rows="keep"))


def _pictures(pictures: Any, n_rows: int) -> npt.NDArray[np.uint8]:
    """Pictures (n_rows, height, width[, channels]) uint8, a view if they are an array already."""
    if not isinstance(pictures, np.ndarray) and any(getattr(picture, "mode", None) == "P" for picture in pictures):
        raise C3AlignError("the pictures hold numbers of a palette; pass picture.convert('RGB') of each")
    try:
        stack = pictures if isinstance(pictures, np.ndarray) else np.stack([np.asarray(p) for p in pictures])
    except ValueError as error:
        raise C3AlignError(f"the pictures cannot be stacked ({error}); resize them to one size and mode") from error
    if stack.dtype != np.uint8 or stack.ndim not in (3, 4):
        raise C3AlignError(
            f"the pictures are {stack.dtype} {stack.shape}; pass uint8 (n, height, width) or (n, height, width, "
            "channels)"
        )
    if stack.ndim == 4 and stack.shape[1] in (1, 3, 4) and stack.shape[3] > 4:
        raise C3AlignError(f"the pictures are {stack.shape}, channels first; pass np.moveaxis(pictures, 1, -1)")
    if len(stack) != n_rows or not stack.size:
        raise C3AlignError(f"there are {n_rows} embeddings and {len(stack)} pictures; pass one picture per row")
    return stack
