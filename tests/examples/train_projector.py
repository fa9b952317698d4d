"""Soft tokens before a language model, in transformers' `Trainer`: it learns names from names, then names pictures.

Prints how often the first word, the script, is right, beside what learned names from pictures.
"""

from __future__ import annotations

import numpy as np
import torch
from _scripts import load
from transformers import Trainer, TrainingArguments, set_seed

from c3align.decoders import Projector, small_lm
from c3align.training import CorruptedCollator, NoiseOfEpoch


def main() -> None:
    rows, names, _, aligner, asked, answers = load()
    how = {"num_train_epochs": 3, "per_device_train_batch_size": 64, "learning_rate": 2e-3, "report_to": []}
    how |= {"remove_unused_columns": False, "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    for what, learned in rows.items():
        lm, tokenizer = small_lm(names, width=64, n_layers=1)
        set_seed(0)
        projector = Projector(lm, asked.shape[1], length=2, tune="full")  # a trained lm: "lora" or "frozen"

        def words(examples, tokenizer=tokenizer):
            ids = tokenizer([example["name"] for example in examples], padding=True, return_tensors="pt")["input_ids"]
            return {"input_ids": ids, "labels": ids.masked_fill(ids == tokenizer.pad_token_id, -100)}

        examples = [{"rows": row, "number": i, "name": name} for i, (row, name) in enumerate(zip(learned, names))]
        collator = CorruptedCollator(aligner, modality=what, rest=words)
        arguments, callback = TrainingArguments("run", **how), NoiseOfEpoch(collator)
        Trainer(projector, arguments, collator, examples, callbacks=[callback]).train()
        said = tokenizer.batch_decode(projector.eval().generate(torch.from_numpy(asked), max_new_tokens=1))
        print(f"learned from {what}s alone: {(np.array(said) == answers).mean():.3f} of {len(answers)} pictures")


if __name__ == "__main__":
    main()
