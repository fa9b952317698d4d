"""Train the embedded encoder `glyphs` and print its evaluation.

Two towers learn from characters and their Unicode names by symmetric InfoNCE at the temperature where CLIP ends,
0.01, which leaves the gap of the initialisation open. A tenth of the code points is never seen.

Examples
--------
    python benchmarks/train_glyphs.py                  # the shipped weights, under 10 minutes on 2 cores
    python benchmarks/train_glyphs.py --steps 300 -o /tmp/glyphs.safetensors
    python benchmarks/train_glyphs.py --evaluate       # figures of the weights in the package
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import sys
import time
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch.nn import functional as F
from tqdm import tqdm

from c3align import datasets as data
from c3align import geometry, ops
from c3align.encoders import _glyph_towers as towers

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "c3align" / "encoders" / "glyphs.safetensors"
RESULTS = ROOT / "benchmarks" / "results" / "glyphs.json"
TEMPERATURE = 0.01
AVERAGE = 0.998  # decay of the averaged weights, which are the ones shipped


class Towers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = towers.ImageTower(), towers.TextTower()


class Training:
    """Pictures of every training character in every font that has it, and their names' tokens."""

    def __init__(self) -> None:
        pictures, rows = [], []
        names: dict[int, str] = {}
        for font in data.FONTS:
            found = data.glyphs(font, "train")
            pictures.append(found.pictures)
            rows.append(found.code_points)
            names.update(zip(found.code_points.tolist(), found.names))
        self.pictures = torch.from_numpy(np.concatenate(pictures))
        self.code_points = sorted(names)
        self.tokens = towers.tokenize([names[point] for point in self.code_points])
        points = torch.from_numpy(np.concatenate(rows))
        index = torch.searchsorted(torch.tensor(self.code_points), points)
        order = torch.argsort(index, stable=True)
        self.by_character = order
        self.n_faces = torch.bincount(index)
        self.first_face = torch.cumsum(self.n_faces, 0) - self.n_faces

    def batch(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Distinct characters, each in a random font, distorted, and their names with some word parts missing."""
        chosen = torch.randperm(len(self.code_points), generator=generator)[:size]
        face = (torch.rand(size, generator=generator) * self.n_faces[chosen]).long()
        pictures = self.pictures[self.by_character[self.first_face[chosen] + face]]
        tokens = self.tokens[chosen]
        missing = torch.rand(tokens.shape, generator=generator) < 0.1
        return distort(pictures, generator), tokens.masked_fill(missing, 0)


def distort(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A small random turn, stretch, slant and shift of each picture."""
    n = len(pictures)
    spread = torch.tensor([[0.1, 0.1, 0.09], [0.1, 0.1, 0.09]])  # about 6 degrees, 10 %, 3 pixels
    noise = (2 * torch.rand(n, 2, 3, generator=generator) - 1) * spread
    grid = F.affine_grid(torch.eye(2, 3) + noise, [n, 1, data.SIZE, data.SIZE], align_corners=False)
    moved = F.grid_sample(pictures[:, None].float(), grid, align_corners=False)
    return moved[:, 0]


def train(model: Towers, arguments: argparse.Namespace) -> Towers:
    """Run all steps, resuming from the checkpoint if there is one; returns the averaged model."""
    training, generator = Training(), torch.Generator().manual_seed(arguments.seed)
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=arguments.steps, pct_start=0.1)
    parts = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    first = resume(parts, generator, arguments.checkpoint)
    bar = tqdm(range(first, arguments.steps), initial=first, total=arguments.steps, disable=None, unit="step")
    for step in bar:
        loss = take_step(model, optimizer, training.batch(arguments.batch_size, generator))
        schedule.step()
        update_average(average, model, min(AVERAGE, 1 - 1 / (step + 1)))
        if (step + 1) % 250 == 0 or step + 1 == arguments.steps:
            save_checkpoint(parts, generator, step + 1, arguments.checkpoint)
            bar.write(f"step {step + 1} loss {loss:.3f} train {retrieval(average, 'train', 600)}")
    return average


def take_step(model: Towers, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
    model.train()
    pictures, tokens = batch
    embedded = towers.embed_pictures(model.image, pictures), model.text(tokens)
    loss = towers.contrastive_loss(*embedded, TEMPERATURE)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def update_average(average: Towers, model: Towers, decay: float) -> None:
    for kept, new in zip(average.state_dict().values(), model.state_dict().values()):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)


def save_checkpoint(parts: dict[str, Any], generator: torch.Generator, step: int, path: Path) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    scratch = path.with_suffix(".part")
    torch.save({"step": step, "generator": generator.get_state(), **state}, scratch)
    scratch.replace(path)


def resume(parts: dict[str, Any], generator: torch.Generator, path: Path) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    generator.set_state(state["generator"])
    print(f"resuming from {path} at step {state['step']}", file=sys.stderr)
    return int(state["step"])


@torch.no_grad()
def embed(model: Towers, split: str, limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Raw embeddings of Sans regular: pictures and names, in order."""
    model.eval()
    found = data.glyphs("DejaVuSans", split)
    keep = np.linspace(0, len(found) - 1, limit).astype(int) if limit else np.arange(len(found))
    pictures = torch.from_numpy(found.pictures[keep])
    tokens = towers.tokenize([found.names[i] for i in keep])
    image = [towers.embed_pictures(model.image, block) for block in pictures.split(512)]
    text = [model.text(block) for block in tokens.split(512)]
    return torch.cat(image).double().numpy(), torch.cat(text).double().numpy()


def recall(queries: np.ndarray, targets: np.ndarray) -> list[float]:
    return [round(share, 4) for share in geometry.recall_at_k(queries, targets).values()]


def retrieval(model: Towers, split: str, limit: int | None = None) -> list[float]:
    image, text = embed(model, split, limit)
    return recall(image, text)


def evaluate(model: Towers) -> dict[str, Any]:
    """Figures on the held-out characters of Sans regular; means for centring come from the training characters."""
    image, text = embed(model, "held_out")
    means = [geometry.unit_rows(rows).mean(0) for rows in embed(model, "train")]
    centred = [ops.align(rows, mean) for rows, mean in zip((image, text), means)]
    return {
        "n_held_out": len(image),
        "gap_norm": float(np.linalg.norm(geometry.gap_vector(image, text))),
        "pair_cosine": geometry.pair_cosine(image, text),
        "centred_pair_cosine": geometry.pair_cosine(*centred),
        "norm_of_means": [float(np.linalg.norm(geometry.unit_rows(rows).mean(0))) for rows in (image, text)],
        "recall_image_to_text": recall(image, text),
        "recall_text_to_image": recall(text, image),
        "centred_recall_image_to_text": recall(*centred),
        "centred_recall_text_to_image": recall(*centred[::-1]),
    }


def halved(model: Towers) -> dict[str, torch.Tensor]:
    """The weights as shipped: float16."""
    state = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    return {name: value.half().contiguous() for name, value in state.items()}


def save(model: Towers, figures: dict[str, Any], arguments: argparse.Namespace, seconds: float) -> None:
    """Weights with their figures and their origin, and the same record for people."""
    record = {
        "figures": figures,
        "steps": arguments.steps,
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
        "temperature": TEMPERATURE,
        "minutes": round(seconds / 60, 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "unicode_digest": data.UNICODE_DIGEST,
        "fonts": data.FONTS,
    }
    metadata = {name: json.dumps(value) for name, value in record.items()}
    safetensors.torch.save_file(halved(model), arguments.output, metadata)
    if arguments.output == WEIGHTS:
        command = "python benchmarks/train_glyphs.py"
        RESULTS.write_text(json.dumps({"command": command, **record}, indent=1) + "\n")


def load(path: Path) -> Towers:
    model = Towers()
    state = {name: value.float() for name, value in safetensors.torch.load_file(path).items()}
    model.load_state_dict(state, strict=False)  # batch counters are not shipped
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=WEIGHTS)
    parser.add_argument("--checkpoint", type=Path, help="default: beside the output, removed at the end")
    parser.add_argument("--evaluate", action="store_true", help="only evaluate the weights in the output file")
    arguments = parser.parse_args()
    arguments.checkpoint = arguments.checkpoint or arguments.output.with_suffix(".checkpoint")
    torch.manual_seed(arguments.seed)
    if not arguments.evaluate:
        start = time.monotonic()
        model = train(Towers(), arguments)
        safetensors.torch.save_file(halved(model), arguments.output)
        model = load(arguments.output)  # the figures are those of the rounded weights
        save(model, evaluate(model), arguments, time.monotonic() - start)
        arguments.checkpoint.unlink(missing_ok=True)
    print(json.dumps(evaluate(load(arguments.output)), indent=1))


if __name__ == "__main__":
    main()
