"""Scores of captions and pictures: the measures that papers report, from the packages that they use."""

from scores._captions import CAPTION_METRICS, caption_scores
from scores._pictures import PICTURE_METRICS, picture_scores
from scores._read import Captions, join, read_captions

__all__ = [
    "CAPTION_METRICS",
    "PICTURE_METRICS",
    "Captions",
    "caption_scores",
    "join",
    "picture_scores",
    "read_captions",
]
