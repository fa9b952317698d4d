"""Options that all entries have."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

OVERRIDES = ("encoder", "lm", "epochs", "batch_size", "seeds", "metrics")


def parser(doc: str | None, variants: Sequence[str]) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, help="folder of the data set; not needed with --encoder glyphs")
    made.add_argument("--encoder", help="instead of the paper's; glyphs: its pictures and names in the data's place")
    made.add_argument("--epochs", type=int, help="instead of the table's")
    made.add_argument("--batch-size", type=int, help="instead of the table's")
    made.add_argument("--seeds", type=int, nargs="+", help="one run of every variant for each")
    made.add_argument("--variants", nargs="+", choices=variants, default=list(variants))
    made.add_argument("--metrics", nargs="+", help="instead of the table's")
    made.add_argument("--limit", type=int, help="this many items of each split, for a trial")
    made.add_argument("--cache", type=Path, help="folder for embeddings, which a second run does not compute again")
    made.add_argument("--json", type=Path, help="results, a record for each run; started again, it goes on")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--threads", type=int, default=1, help="of torch; equal threads, equal results")
    return made


def caption_parser(doc: str | None, variants: Sequence[str]) -> argparse.ArgumentParser:
    """The same for entries with a language model."""
    made = parser(doc, variants)
    made.add_argument("--lm", help="a folder or a name on the hub, instead of GPT-2; words: a small new one")
    return made


def configured(config: Any, for_glyphs: Any, options: argparse.Namespace) -> Any:
    """The table's configuration, or ours for glyphs, with what was asked for in its place."""
    torch.set_num_threads(options.threads)
    base = for_glyphs if options.encoder == "glyphs" else config
    asked = {name: getattr(options, name, None) for name in OVERRIDES}
    fitting = {name: value for name, value in asked.items() if value is not None and hasattr(base, name)}
    return replace(base, **{name: tuple(v) if isinstance(v, list) else v for name, v in fitting.items()})
