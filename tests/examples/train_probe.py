"""A linear probe of scikit-learn that learns scripts from names alone, and then reads pictures of characters.

Beside it the same probe that learned from pictures and labels. Prints the accuracy of both on held-out pictures.
"""

from __future__ import annotations

from _scripts import load
from sklearn.linear_model import LogisticRegression

from c3align.training import make_corrupted


def main() -> None:
    rows, _, scripts, aligner, asked, answers = load()
    for what, learned in rows.items():
        X, y = make_corrupted(aligner, learned, scripts, modality=what, n_repeats=2)
        accuracy = LogisticRegression(max_iter=200).fit(X, y).score(asked, answers)
        print(f"learned from {what}s alone: {accuracy:.3f} of {len(answers)} pictures")


if __name__ == "__main__":
    main()
