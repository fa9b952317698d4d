"""The paper's numbers, to be printed beside ours. `about` marks what was read off a plotted curve.

From the paper (ICLR 2024), its poster and texts that quote its tables; an absent number was not found, not zero.
"""

from __future__ import annotations

TABLE_2 = {  # COCO, Karpathy test, CLIP ViT-B/32
    "C1": {"rouge_l": 25.4, "cider": 13.0},
    "C2_1": {"rouge_l": 33.6, "cider": 25.2},
    "C2_2": {"rouge_l": 50.8, "cider": 87.6},
    "C3": {"bleu_1": 71.0, "bleu_4": 27.7, "meteor": 25.0, "rouge_l": 52.0, "cider": 93.3, "spice": 18.3},
}
TABLE_3 = {  # COCO, text to image, LAFITE
    "C1": {"fid": 29.8},
    "C2_1": {"fid": 21.7},
    "C2_2": {"fid": 19.8},
    "C3": {"fid": 19.6},
}
TABLE_4 = {  # ImageBind; METEOR of sounds and videos from a notebook of the authors, chosen on the test split
    "coco": {"C1": {"bleu_1": 64.4}, "C3": {"bleu_1": 74.0, "meteor": 26.6, "rouge_l": 54.0}},
    "clotho": {
        "C1": {"bleu_1": 27.6, "meteor": 17.28},
        "C2_1": {"meteor": 20.00},
        "C2_2": {"meteor": 20.05},
        "C3": {"bleu_1": 29.5, "meteor": 20.08},
    },
    "msrvtt": {
        "C1": {"bleu_1": 25.2, "meteor": 12.61},
        "C2_1": {"meteor": 17.83},
        "C2_2": {"meteor": 18.07},
        "C3": {"bleu_1": 31.4, "meteor": 20.03},
    },
}
SHARES = (0.01, 0.05, 0.25, 1.0)
TABLE_5 = {  # CIDEr and BLEU-4 of Figure 6 at 1, 5, 25 and 100 % of the pairs, about +-0.4 and +-0.15
    "pairs only": {"cider": (71.1, 89.4, 101.6, 106.6), "bleu_4": (21.1, 26.4, 30.0, 31.5)},
    "C1": {"cider": (78.4, 91.4, 102.7, 109.7), "bleu_4": (22.9, 27.0, 30.4, 32.3)},
    "C2_1": {"cider": (78.4, 92.0, 102.3, 109.3), "bleu_4": (23.0, 27.1, 30.2, 32.4)},
    "C2_2": {"cider": (96.2, 98.4, 103.1, 109.0), "bleu_4": (28.8, 29.4, 30.9, 32.2)},
    "C3": {"cider": (96.4, 98.9, 103.6, 108.9), "bleu_4": (28.9, 29.4, 31.0, 32.2)},
}
TABLE_7 = {  # COCO 2017, a light decoder: a notebook of the authors, chosen on the test split
    "C1": {"rouge_l": 20.51, "meteor": 17.69},
    "C2_2": {"rouge_l": 32.56, "meteor": 29.21},
    "C2_2, noise without the gap's direction": {"rouge_l": 19.52, "meteor": 18.29},
}
