"""Counts the machine instructions that the CUDA kernels execute for a row, without a card.

    python benchmarks/instructions.py --tools FOLDER

Compiles csrc/cuda/transform.cu for compute capability 9.0, disassembles it and follows the loop over rows of the
kernels of 768 columns: the longest way round that loads and stores each row once and calls none of the routines for
numbers out of range. FOLDER holds nvdisasm, of the package nvidia-cuda-nvdisasm; left out, it is sought on PATH. Adds
the counts at this commit to benchmarks/results/instructions.json.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/instructions.json"
FLAGS = ["-std=c++17", "-O3", "--fmad=false", "-arch=sm_90", "-cubin", "--resource-usage"]
STEPS = 6  # of 128 columns in a row of 768
# the names of kernels after compiling hold their template's arguments
KERNEL = re.compile(r"transform_narrowI(?P<type>f|13__nv_bfloat16)fLi6ELNS0_6LayoutE2ELNS0_9NoiseKindE(?P<noise>[01])E")
PIPES = {
    "float32": "FFMA FMUL FADD",
    "float64": "DFMA DMUL DADD DSETP",
    "conversion": "F2F F2FP I2F I2FP F2I MUFU",
    "integer multiply": "IMAD",
    "integer and select": "IADD3 VIADD LOP3 SHF LEA PRMT SGXT IABS VIMNMX FMNMX MOV CS2R SEL FSEL FSETP ISETP PLOP3",
    "memory": "LDG STG LDS STS LDC ATOMG ATOMS RED ATOM",
    "shuffle": "SHFL VOTE",
}
PIPE_OF = {opcode: pipe for pipe, opcodes in PIPES.items() for opcode in opcodes.split()}
# an H200 at the rates that it had in benchmarks/results: bytes a second of a copy, instructions a second of all warps
COPY, ISSUE = 4.3e12, 132 * 4 * 1.755e9
REGISTERS = 65536 // 4  # of a quarter of a processor; warps get them by 8 for each of their 32 threads


class Block(NamedTuple):
    """Instructions without a jump between them."""

    opcodes: list[str]
    marks: Counter[str]
    is_slow: bool  # calls a routine
    jump: str | None
    falls: bool  # through to the next


def blocks_of(text: str) -> tuple[list[Block], dict[str, int]]:
    """The blocks of one function, and which begins at a label."""
    blocks: list[Block] = []
    labels: dict[str, int] = {}
    lines: list[str] = []
    for line in [*text.splitlines(), ".end:"]:
        if label := re.match(r"\s*(\.\w+|\$?\S+):\s*$", line):
            if lines:
                blocks.append(block_of(lines))
            lines = []
            labels[label[1]] = len(blocks)
        elif code := re.match(r"\s*/\*[0-9a-f]+\*/\s+(.*?);", line):
            lines.append(code[1].strip())
            if re.search(r"\b(BRA|EXIT|RET|BRX)\b", code[1]):
                blocks.append(block_of(lines))
                lines = []
    return blocks, labels


def block_of(lines: list[str]) -> Block:
    opcodes = [re.sub(r"^@!?U?P\w+\s+", "", line).split()[0] for line in lines]
    marks = Counter(mark for line, opcode in zip(lines, opcodes) if (mark := mark_of(line, opcode)))
    last, name = lines[-1], opcodes[-1].split(".")[0]
    jump = re.search(r"\(([.$]\S+)\)", last) if name == "BRA" else None
    never = name == "BRA" and ".DIV" in opcodes[-1]  # for warps that have come apart
    always = name in ("BRA", "EXIT", "RET") and not last.startswith("@") and not re.search(r"BRA\S* !?U?P\d", last)
    is_slow = any(opcode.startswith("CALL") for opcode in opcodes)
    return Block(opcodes, marks, is_slow, jump[1] if jump and not never else None, never or not always)


def mark_of(line: str, opcode: str) -> str | None:
    """What is counted to tell the ways apart: how often a row is loaded, stored and normalized."""
    if re.match(r"LDG\.E.*\.(64|128)\b", opcode):
        if line.startswith("@"):  # scale and shift, which may be absent, or the number of a row
            return "maybe" if ".128" in opcode else None
        return "LDG"
    if re.match(r"STG\.E.*\.(64|128)\b", opcode):
        return None if line.endswith("RZ") else "STG"  # zeros for a row without a direction
    return opcode if re.match(r"MUFU\.(RSQ64H|RCP64H|RSQ)$", opcode) else None


def successors(blocks: list[Block], labels: dict[str, int], at: int) -> list[int]:
    block = blocks[at]
    found = [labels[block.jump]] if block.jump in labels else []
    return found + ([at + 1] if block.falls and at + 1 < len(blocks) else [])


def loop_head(blocks: list[Block], labels: dict[str, int]) -> int:
    """Where the loop over rows begins: the earliest block that is jumped back to."""
    seen, waiting, heads = {0}, [0], []
    while waiting:
        at = waiting.pop()
        for after in successors(blocks, labels, at):
            if after <= at and not blocks[at].is_slow:
                heads.append(after)
            if after not in seen and not blocks[after].is_slow:
                seen.add(after)
                waiting.append(after)
    return min(heads)


def way_round(blocks: list[Block], labels: dict[str, int], wanted: Counter[str]) -> list[str] | None:
    """The opcodes of the longest way from the loop's head to itself that has exactly the marks wanted."""
    head, names = loop_head(blocks, labels), sorted(wanted)
    known: dict[tuple[int, tuple[int, ...]], list[int] | None] = {}

    def longest(at: int, left: tuple[int, ...]) -> list[int] | None:
        block = blocks[at]
        left = tuple(n - block.marks[name] for n, name in zip(left, names))
        if block.is_slow or min(left) < 0:
            return None
        if (at, left) not in known:
            known[at, left] = None  # what comes back here without a mark is no way
            ways = []
            for after in successors(blocks, labels, at):
                rest = ([] if not any(left) else None) if after == head else longest(after, left)
                if rest is not None:
                    ways.append([at, *rest])
            known[at, left] = max(ways, key=lambda way: sum(len(blocks[b].opcodes) for b in way), default=None)
        return known[at, left]

    way = longest(head, tuple(wanted[name] for name in names))
    return None if way is None else [opcode for at in way for opcode in blocks[at].opcodes]


def wanted_of(rows: int, is_noisy: bool) -> Counter[str]:
    """What one pass does: loads its rows and the mean, stores the rows, takes two norms and radii of normals."""
    marks = Counter({"LDG": STEPS * (rows + 1), "STG": STEPS * rows, "MUFU.RSQ64H": 2, "MUFU.RCP64H": 2, "maybe": 0})
    marks["MUFU.RSQ"] = 2 * STEPS * rows * is_noisy
    return marks


def pipes_of(opcodes: list[str], rows: int) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for opcode in opcodes:
        name = opcode.split(".")[0]
        counts["uniform" if name.startswith("U") or name == "R2UR" else PIPE_OF.get(name, "other")] += 1
    return {pipe: counts[pipe] / rows for pipe in [*PIPES, "uniform", "other"] if counts[pipe]}


def counted(name: str, text: str, usage: dict[str, tuple[int, int]]) -> dict[str, object]:
    match = KERNEL.search(name)
    assert match
    is_noisy, blocks, labels = match["noise"] == "1", *blocks_of(text)
    for rows in (2, 1):
        if opcodes := way_round(blocks, labels, wanted_of(rows, is_noisy)):
            break
    else:
        sys.exit(f"{name} has no loop that loads, normalizes and stores its rows; see wanted_of")
    registers, spilled = usage[name]
    n_bytes = 2 * 768 * (4 if match["type"] == "f" else 2)
    return {
        "kernel": f"{'corrupt' if is_noisy else 'align'} {'float32' if match['type'] == 'f' else 'bfloat16'}",
        "instructions_a_row": len(opcodes) / rows,
        "rows_a_pass": rows,
        "by_pipe": pipes_of(opcodes, rows),
        "registers": registers,
        "spilled_bytes": spilled,
        "issue_slots_at_the_rate_of_a_copy": round(COPY / n_bytes * len(opcodes) / rows / ISSUE, 3),
    }


def disassembled(tools: str | None, folder: str) -> tuple[str, dict[str, tuple[int, int]]]:
    """The machine code as text; registers and spilled bytes of each kernel."""
    nvdisasm, cubin = shutil.which("nvdisasm", path=tools), f"{folder}/rows.cubin"
    if nvdisasm is None:
        sys.exit("no nvdisasm; pip install --target FOLDER nvidia-cuda-nvdisasm, and pass --tools with its bin folder")
    compiled = subprocess.run(
        ["nvcc", *FLAGS, "csrc/cuda/transform.cu", "-o", cubin], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if compiled.returncode:
        sys.exit(f"nvcc failed:\n{compiled.stdout}{compiled.stderr}")
    usage = {
        name: (int(registers), int(spilled))
        for name, spilled, registers in re.findall(
            r"Compiling entry function '(\S+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers",
            compiled.stdout + compiled.stderr,
            re.S,
        )
    }
    text = subprocess.run([nvdisasm, "-c", cubin], capture_output=True, text=True, check=True).stdout
    return text, usage


def kernel_instructions() -> list[str]:
    """The table of csrc/README.md: the first run and the last."""
    runs = json.loads(RESULTS.read_text())["runs"]
    before, now = runs[0], runs[-1]
    lines = [
        f"| 768 columns | instructions at {before['commit']} | at {now['commit']} | issue slots | registers | warps |",
        "|---|---|---|---|---|---|",
    ]
    for old, new in zip(before["kernels"], now["kernels"]):
        slots, registers, warps = (
            f"{of(old)} -> {of(new)}"
            for of in (
                lambda kernel: f"{100 * kernel['issue_slots_at_the_rate_of_a_copy']:.0f} %",
                lambda kernel: kernel["registers"],
                lambda kernel: 4 * (REGISTERS // (32 * (-(-kernel["registers"] // 8) * 8))),
            )
        )
        counts = f"{old['instructions_a_row']:.0f} | {new['instructions_a_row']:.0f}"
        lines.append(f"| {new['kernel']} | {counts} | {slots} | {registers} | {warps} |")
    return lines


def kernel_bounds() -> list[str]:
    """What noise on bfloat16 rows can reach by its count of instructions, and what a card has reached."""
    runs = [{k["kernel"]: k for k in run["kernels"]} for run in json.loads(RESULTS.read_text())["runs"]]
    before, now = (1 / run["corrupt bfloat16"]["issue_slots_at_the_rate_of_a_copy"] for run in (runs[0], runs[-1]))
    align, corrupt = (runs[-1][f"{op} bfloat16"]["instructions_a_row"] for op in ("align", "corrupt"))
    measured = json.loads((RESULTS.parent / "throughput-cuda.json").read_text())
    wanted = {"op": "corrupt", "dims": 768, "dtype": "bfloat16", "contestant": "c3align, in a graph"}
    (record,) = (r for r in measured["records"] if wanted.items() <= r.items())
    card = f"at commit {measured['commit']} an {measured['gpu']} ran it at {100 / record['of_floor']:.0f} %, in a graph"
    return [
        "> Noise on bfloat16 rows is bound by its instructions: if every slot is used, it reaches at most "
        f"{100 * now:.0f} % of a copy's speed, and at most {100 * before:.0f} % before ({card}). "
        f"{100 * (1 - align / corrupt):.0f} % of the instructions make the noise itself.",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", help="folder of nvdisasm")
    tools = parser.parse_args().tools
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        text, usage = disassembled(tools, folder)
    functions = re.findall(r"^\.text\.(\S+):\n(.*?)(?=^\t?\s*\.section|\Z)", text, re.S | re.M)
    kernels = [counted(name, code, usage) for name, code in functions if KERNEL.search(name)]
    kernels.sort(key=lambda kernel: str(kernel["kernel"]))
    runs = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
    runs = [run for run in runs if run["commit"] != commit]
    runs.append({"commit": commit, "spilling_kernels": sum(1 for _, n in usage.values() if n), "kernels": kernels})
    command = shlex.join(["python", "benchmarks/instructions.py"])
    RESULTS.write_text(json.dumps({"command": command, "flags": FLAGS, "runs": runs}, indent=1) + "\n")
    for kernel in kernels:
        print(json.dumps(kernel))


if __name__ == "__main__":
    main()
