"""`python -m c3align`."""

from c3align.cli import main

main()
