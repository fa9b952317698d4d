"""Writes the table of attacks into README.md: python -m tests.attacks"""

from __future__ import annotations

from pathlib import Path

from tests import attacks

PAGE = Path(__file__).with_name("README.md")
HEAD = """# Attacks

Files that a stranger might send. Each is built by the function of its name in the modules beside this page and loaded
in a child process that may open no socket, start no program, and open no file but the interpreter's and the attack's
own (`sandbox.py`: Landlock and seccomp where the kernel has them, Python's audit events everywhere). What must come is
one `C3AlignError` or `OSError`, in one printable line, within 10 seconds and less than ten times the file and 200 MB.

`python -m pytest tests/attacks` tries them all. `make fuzz` changes honest files at random, 200,000 times
(`fuzz.py`). This table is written by `python -m tests.attacks`.

| door | attack | what it tries | what comes |
|---|---|---|---|
"""


def table() -> str:
    """The page, as it should be."""
    lines = []
    for attack in attacks.find().values():
        tried = " ".join(attack.build.__doc__.split()).replace("|", "\\|")
        comes = f"`{attack.refusal}`" if attack.refusal else "nothing: it loads, or is refused"
        lines.append(
            f"| {attack.loader} | `{attack.build.__name__}` | {tried} | {comes.replace('|', chr(92) + '|')} |\n"
        )
    return HEAD + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(table())
