"""A head of torch in transformers' `Trainer`: it learns scripts from names alone, then reads pictures of characters.

Rows get fresh noise each epoch. Prints the accuracy on held-out pictures, beside the head that learned from pictures.
"""

from __future__ import annotations

import numpy as np
import torch
from _scripts import load
from transformers import Trainer, TrainingArguments, set_seed

from c3align.training import CorruptedCollator, NoiseOfEpoch


class Head(torch.nn.Linear):
    def forward(self, rows, labels=None):
        logits = super().forward(rows)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def main() -> None:
    rows, _, scripts, aligner, asked, answers = load()
    known, labels = np.unique(scripts, return_inverse=True)
    how = {"num_train_epochs": 5, "per_device_train_batch_size": 64, "learning_rate": 0.01, "report_to": []}
    how |= {"remove_unused_columns": False, "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    for what, learned in rows.items():
        set_seed(0)
        examples = [{"rows": row, "number": i, "label": c} for i, (row, c) in enumerate(zip(learned, labels.tolist()))]
        collator, head = CorruptedCollator(aligner, modality=what), Head(len(asked[0]), len(known))
        Trainer(head, TrainingArguments("run", **how), collator, examples, callbacks=[NoiseOfEpoch(collator)]).train()
        found = known[torch.nn.functional.linear(torch.from_numpy(asked), head.weight, head.bias).argmax(dim=1)]
        print(f"learned from {what}s alone: {(found == answers).mean():.3f} of {len(answers)} pictures")


if __name__ == "__main__":
    main()
