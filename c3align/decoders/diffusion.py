"""`DiffusersGenerator`: pictures from embeddings by diffusers pipelines that take image embeddings.

The module is not called `diffusers`, which would shadow the package. The heads know what each family of pipelines
takes: argument, layout and negative embedding.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align import centering, ops
from c3align._arguments import check_number, check_seed, check_whole
from c3align._typing import Array
from c3align.decoders import heads
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.training.rows import checked_rows, seed_of

__all__ = ["DiffusersGenerator"]

OWN = ("image_embeds", "negative_image_embeds", "ip_adapter_image_embeds", "generator", "latents")
FIXED = {"num_images_per_prompt": 1, "output_type": "pil", "return_dict": True}
BY_ROW = ("prompt", "negative_prompt")
UNIT = 1e-3  # how near to 1 the mean norm of unit rows is, of half precision too
MAX_RATIO = 2.0  # between the norms of rows and of what the pipeline knows: raw norms vary by a tenth or so
LEAST_MEAN, PART = 0.4, 0.25  # aligned rows lie near zero along a mean of this norm or more, raw ones near the mean


class DiffusersGenerator:
    """Draw embeddings with a pretrained diffusers pipeline; nothing is trained.

    | pipeline | argument | negative |
    |---|---|---|
    | Kandinsky 2.2 (`KandinskyV22Pipeline`, ...) | ``image_embeds`` (n, d) | zeros, or the zero image's |
    | Stable unCLIP (`...Img2ImgPipeline`) | ``image_embeds`` (n, d) | the pipeline's own: zeros |
    | Stable Diffusion (XL) with one IP-Adapter | ``ip_adapter_image_embeds``, [(2, 1, d)], a row at a time | zeros |

    All of them expect image embeddings of the encoder that they were trained with, at their raw norm, not aligned
    rows: pass ``aligner.translate(text, source="text", target="image")``.

    Parameters
    ----------
    pipeline : diffusers pipeline
        Used as it is, on its device and in its dtype, and never changed.
    aligner : C3Aligner, optional
        The aligner that translates the rows. With it their norm is compared with that of the image rows it saw, aligned
        rows are refused, and rows nearest to another modality's mean give a warning.
    modality : str
        The aligner's modality whose mean and norm the pipeline expects.
    norm : float, optional
        Mean norm of raw image embeddings, if no aligner knows it.

    Attributes
    ----------
    n_dims : int
        Dimension that the pipeline takes.
    expected_norm : float or None
        From `norm`, the pipeline's own statistics (Stable unCLIP), or the aligner, in this order.

    Raises
    ------
    C3AlignError
        A pipeline that takes no image embeddings, or an IP-Adapter that is not loaded or takes more than one vector.

    Examples
    --------
    >>> pipeline = KandinskyV22Pipeline.from_pretrained(...)  # doctest: +SKIP
    >>> generator = DiffusersGenerator(pipeline, aligner=aligner)  # doctest: +SKIP
    >>> rows = aligner.translate(text, source="text", target="image")  # doctest: +SKIP
    >>> pictures = generator.generate(rows, seed=0, num_inference_steps=50)  # doctest: +SKIP
    """

    takes: ClassVar[Literal["raw"]] = "raw"

    def __init__(
        self, pipeline: Any, *, aligner: Any = None, modality: str = "image", norm: float | None = None
    ) -> None:
        self.pipeline = pipeline
        self._head = heads.head_of(pipeline)
        self.n_dims: int | None = self._head.n_dims
        given = None if norm is None else float(check_number("norm", norm, above=True))
        self._norm = self._head.norm if given is None else given
        self._take(aligner, modality)

    def _take(self, aligner: Any, modality: str) -> None:
        if aligner is not None:
            centering.state_of(aligner, modality)
        self.aligner, self.modality_ = aligner, modality
        seen = None if aligner is None else float(aligner.statistics_[modality].mean_norm)
        self.expected_norm = seen if self._norm is None else self._norm

    def fit(
        self, rows: Array, pictures: Any = None, *, aligner: Any = None, modality: str = "image", progress: bool = False
    ) -> DiffusersGenerator:
        """Learn the norm of raw rows; the pipeline itself learns nothing.

        Parameters
        ----------
        rows : (n_rows, n_dims) array or tensor
            Raw embeddings of `modality`. Without an aligner their mean norm is the expected one, unless `norm` or the
            pipeline determines it.
        pictures : any
            Ignored.
        aligner, modality : optional
            As in the class.
        progress : bool
            Ignored.

        Returns
        -------
        DiffusersGenerator
            Itself.
        """
        checked = checked_rows(rows, self.n_dims)
        self._take(aligner, modality)
        if self.expected_norm is None and checked.shape[0]:
            self.expected_norm = float(np.linalg.norm(checked.widened().astype(np.float64), axis=1).mean())
        return self

    def generate(
        self,
        rows: Array,
        *,
        negative: Any = None,
        seed: int = 0,
        row_offset: int = 0,
        batch_size: int = 4,
        progress: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Draw a picture of each row.

        Parameters
        ----------
        rows : (n_rows, n_dims) array or tensor
            Rows around the image modality's mean, at its raw norm.
        negative : (n_dims,) or (n_rows, n_dims) array or tensor, or a prior pipeline, optional
            The embedding that guidance leads away from. For Kandinsky that of a black picture, which a prior pipeline
            computes (`get_zero_embed`); zeros by default, which guide less well there and are right elsewhere.
        seed : int >= 0
            Seed of the noise.
        row_offset : int >= 0
            Number of the first row. Seed and row number determine a row's noise, so that it gives the same picture in
            any batch, up to rounding.
        batch_size : int
            Number of rows at a time; 1 for an IP-Adapter.
        progress : bool
            Whether to show a bar of pictures; the pipeline's own bars are hidden.
        **kwargs : optional
            Passed to the pipeline: ``height``, ``width``, ``num_inference_steps``, ``guidance_scale``,
            ``noise_level``, ``prompt`` (a string, or one per row; empty by default) and others.

        Returns
        -------
        list of PIL images
            One per row.

        Raises
        ------
        C3AlignError
            Rows of another width, not finite, with a norm far from the expected one, or aligned; arguments that this
            method sets itself.

        Warns
        -----
        ModalityMeanWarning
            For rows nearest to another modality's mean, such as untranslated texts; and for unit rows, unless `norm` or
            the pipeline expects them: an aligner that saw unit rows makes unit rows.
        """
        checked = checked_rows(rows, self.n_dims)
        batch_size, seed = check_whole("batch_size", batch_size), check_seed(seed)
        row_offset = check_whole("row_offset", row_offset, 0)
        kwargs = {name: value for name, value in kwargs.items() if value is not None or name not in BY_ROW}
        self._check_arguments(kwargs, checked.shape[0])
        wide = checked.widened().astype(np.float32, copy=False)
        if len(wide):
            self._check_scale(wide)
            self._check_place(wide)
        negatives = self._negatives(negative, len(wide))
        batch_size = min(batch_size, self._head.max_rows or batch_size)
        pictures: list[Any] = []
        with _quiet(self.pipeline), tqdm(total=len(wide), disable=not progress, desc="draw", unit="picture") as bar:
            for start in range(0, len(wide), batch_size):
                part = slice(start, min(start + batch_size, len(wide)))
                pictures += self._draw(wide[part], negatives, part, seed, row_offset, kwargs)
                bar.update(part.stop - part.start)
        return pictures

    def _draw(
        self,
        rows: npt.NDArray[np.float32],
        negatives: npt.NDArray[np.float32] | None,
        part: slice,
        seed: int,
        row_offset: int,
        kwargs: dict[str, Any],
    ) -> list[Any]:
        asked = dict(kwargs)
        for name in BY_ROW:
            if name in asked or (name == "prompt" and self._head.takes_prompts):
                value = asked.get(name, "")
                asked[name] = [value] * len(rows) if isinstance(value, str) else list(value)[part]
        guided = heads.is_guided(self.pipeline, asked)
        own = self._head.arguments(self.pipeline, rows, None if negatives is None else negatives[part], guided)
        generators = [row_generator(seed, row_offset + row) for row in range(part.start, part.stop)]
        return list(self.pipeline(**own, **asked, generator=generators).images)

    def _check_arguments(self, kwargs: dict[str, Any], n_rows: int) -> None:
        for name in kwargs:
            if name in OWN or (name in FIXED and kwargs[name] != FIXED[name]):
                raise C3AlignError(f"{name} is set by generate itself; omit it (repeat rows for more pictures)")
        for name in BY_ROW:
            value = kwargs.get(name, "")
            if not isinstance(value, str) and len(value) != n_rows:
                raise C3AlignError(f"there are {n_rows} rows and {len(value)} of {name}; pass one, or one per row")

    def _check_scale(self, rows: npt.NDArray[np.float32]) -> None:
        """Check that the rows have the norm of image embeddings."""
        norm = float(np.linalg.norm(rows.astype(np.float64), axis=1).mean())
        expected, name = self.expected_norm, self._head.name
        if expected is not None and not 1 / MAX_RATIO < norm / expected < MAX_RATIO:
            raise C3AlignError(
                f"the rows have a mean norm of {norm:.3g} and {name} expects one of about {expected:.3g}; {self._fix()}"
            )
        if self._norm is None and abs(norm - 1) < UNIT:  # an aligner may have seen unit rows
            self._warn(f"the rows have norm 1, but {name} expects raw embeddings, whose norm differs")

    def _check_place(self, rows: npt.NDArray[np.float32]) -> None:
        """Check that the rows lie around the image embeddings' mean."""
        if self.aligner is None:
            return
        mean = self.aligner.statistics_[self.modality_].mean
        length = float(np.linalg.norm(mean))
        along = (ops.normalize(rows, zero_rows="keep") @ mean).mean() / max(length, LEAST_MEAN)
        if length >= LEAST_MEAN and along < PART * length:
            raise C3AlignError(
                f"the embeddings must be raw rows in the place of {self.modality_!r}, and these are aligned, or lie "
                f"elsewhere; {self._fix()}"
            )
        nearest = centering.claimed_by(self.aligner.state_, centering.Glance.of(rows))
        if nearest not in (None, self.modality_):
            self._warn(
                f"the rows lie nearest to the mean of {nearest!r}, and {self._head.name} expects them in the place of "
                f"{self.modality_!r}"
            )

    def _warn(self, what: str) -> None:
        warnings.warn(f"{what}; {self._fix()}", ModalityMeanWarning, stacklevel=4)

    def _fix(self) -> str:
        return f"pass aligner.translate(rows, source=..., target={self.modality_!r}) of an aligner fitted on raw rows"

    def _negatives(self, negative: Any, n_rows: int) -> npt.NDArray[np.float32] | None:
        """Negative embeddings (n_rows, n_dims), or None for the head's own."""
        if negative is None:
            return None
        if not self._head.takes_negative:
            raise C3AlignError(f"{self._head.name} sets its own negative embedding; omit negative")
        if hasattr(negative, "get_zero_embed"):
            negative = negative.get_zero_embed().detach().float().cpu()
        two = negative[None] if getattr(negative, "ndim", 2) == 1 else negative
        values = checked_rows(two).widened().astype(np.float32, copy=False)
        if values.shape[1] != self.n_dims or len(values) not in (1, n_rows):
            raise C3AlignError(
                f"the negative embeddings are {values.shape}; pass ({self.n_dims},) or ({n_rows}, {self.n_dims})"
            )
        return np.broadcast_to(values, (n_rows, values.shape[1]))


def row_generator(seed: int, row: int) -> Any:
    """The random generator of a row, on the CPU, so that its noise is the same for every device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed_of(int(seed), int(row)))


@contextmanager
def _quiet(pipeline: Any) -> Iterator[None]:
    """Hide the pipeline's bar of steps, and restore its setting afterwards."""
    before = getattr(pipeline, "_progress_bar_config", None)
    pipeline.set_progress_bar_config(**{**(before or {}), "disable": True})
    try:
        yield
    finally:
        if before is None:
            del pipeline._progress_bar_config
        else:
            pipeline.set_progress_bar_config(**before)
