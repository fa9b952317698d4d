"""Write the tables of the README files from the figures in `results/`; nobody types a figure.

A table stands between two comments of its name, `<!-- name -->` and `<!-- /name -->`, in any README of the repository.

Examples
--------
    python benchmarks/table.py            # write them
    python benchmarks/table.py --check    # exit 1 where a README says something else
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import _recipe_tables
import _scale_tables
import _search_tables
import _tables
import instructions

ROOT = Path(__file__).resolve().parents[1]
TABLES = {
    table.__name__: table
    for table in (
        _tables.accuracy,
        _tables.coco_pairs,
        _tables.drawing,
        _tables.embed_share,
        _tables.face,
        _tables.few_rows,
        _tables.gpu_check,
        _tables.initial_gaps,
        _tables.low_data,
        _tables.naming,
        _tables.report_cost,
        _tables.strengths,
        _tables.temperatures,
        _tables.theory,
        _tables.throughput,
        _tables.which_mean,
        _tables.zero_shot,
        _recipe_tables.recipes_captions,
        _recipe_tables.recipes_reading,
        _recipe_tables.recipes_rows,
        _recipe_tables.transport,
        _scale_tables.scale,
        _scale_tables.scale_origin,
        _scale_tables.scale_plan,
        _scale_tables.scale_sizes,
        _scale_tables.scale_bounds,
        _scale_tables.scale_workers,
        _search_tables.search_bridge,
        _search_tables.search_cost,
        _search_tables.search_quality,
        instructions.kernel_bounds,
        instructions.kernel_instructions,
    )
}
PLACE = re.compile(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", re.DOTALL)


def pages(root: Path) -> list[Path]:
    """README.md, and those of the folders that have one."""
    folders = ("c3align", "benchmarks", "csrc", "tests")
    return [root / "README.md", *(path for name in folders for path in sorted((root / name).rglob("README.md")))]


def drawn(text: str) -> str:
    """A page with its tables anew."""

    def anew(found: re.Match[str]) -> str:
        name = found[1]
        if name not in TABLES:
            sys.exit(f"there is no table {name!r}; the tables are {', '.join(TABLES)}")
        return "\n".join([f"<!-- {name} -->", *TABLES[name](), f"<!-- /{name} -->"])

    return PLACE.sub(anew, text)


def main() -> None:
    """Write or check all pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    arguments = parser.parse_args()
    texts = {path: path.read_text() for path in pages(arguments.root)}
    shown = {found[1] for text in texts.values() for found in PLACE.finditer(text)}
    if missing := sorted(set(TABLES) - shown):
        comments = f"<!-- {missing[0]} --> and <!-- /{missing[0]} -->"
        sys.exit(f"no README has a place for {', '.join(missing)}; add {comments}")
    stale = [path for path, text in texts.items() if drawn(text) != text]
    if arguments.check and stale:
        sys.exit(f"out of date: {', '.join(map(str, stale))}; run python benchmarks/table.py")
    for path in stale:
        path.write_text(drawn(texts[path]))


if __name__ == "__main__":
    main()
