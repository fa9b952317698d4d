"""Captions against references: BLEU, ROUGE-L, CIDEr, METEOR and SPICE by pycocoevalcap, and bags of words."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from c3align._imports import need
from c3align.errors import C3AlignError, MissingExtraError
from scores._words import WORD_METRICS, plain_words

__all__ = ["CAPTION_METRICS", "caption_scores"]

COCO_METRICS = ("bleu", "rouge_l", "cider", "meteor", "spice")
CAPTION_METRICS = (*COCO_METRICS, *WORD_METRICS)
TOKENIZERS = ("auto", "ptb", "plain")
_JAVA = "METEOR, SPICE and the PTB tokenizer run on Java, and no `java` is on the PATH; install a JRE (8 or newer)"
_SPICE_FILES = "stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"


def caption_scores(
    candidates: Sequence[str] | Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str] | None = None,
    *,
    tokenizer: str = "auto",
    progress: bool = False,
) -> dict[str, Any]:
    """Score captions.

    Parameters
    ----------
    candidates : list of n str, or of n lists of str
        One caption an item; or several sampled ones, of which `word_map` counts all and the others the first.
    references : list of n lists of str
        One reference an item or more.
    metrics : list of str, optional
        Any of "bleu" (1 to 4, of the corpus), "rouge_l", "cider" (CIDEr-D), "meteor", "spice" by pycocoevalcap, as
        papers report them; and "word_f1", "exact", "bigram_precision", "word_map", defined in
        `scores._words`, which need nothing. By default the five of pycocoevalcap, less those that cannot run
        here, which are named in the result.
    tokenizer : "auto", "ptb" or "plain"
        What pycocoevalcap's metrics count: tokens of the Penn treebank as Stanford's tokenizer makes them, without
        punctuation, as in published figures; or plain words, lower case, which are close but not the same. "auto"
        takes the first where there is Java. The bag-of-words scores always count plain words.
    progress : bool
        Show a bar of the metrics.

    Returns
    -------
    dict
        "bleu_1" to "bleu_4" and the others by name, floats, 1 is best (CIDEr: 10); "n_items"; "tokenizer", the one
        used; "absent", only by default: metrics that could not run, with the remedy.

    Raises
    ------
    C3AlignError
        Lists that do not fit each other, an unknown metric, CIDEr of a single item.
    MissingExtraError
        A metric was asked for whose package, Java or files are absent; the message says how to get them.
    """
    samples, refs = _checked(candidates, references)
    chosen = COCO_METRICS if metrics is None else tuple(metrics)
    for name in chosen:
        if name not in CAPTION_METRICS:
            raise C3AlignError(f"metric {name!r} is unknown; pass some of {', '.join(CAPTION_METRICS)}")
    result: dict[str, Any] = {"n_items": len(samples)}
    if set(chosen) & set(COCO_METRICS):
        result["tokenizer"] = _choose_tokenizer(tokenizer)
        tokens = _tokens([[caption[0]] for caption in samples], refs, result["tokenizer"])
    absent = {}
    bar = tqdm(chosen, desc="score", unit="metric", disable=not progress)
    for name in bar:
        bar.set_postfix_str(name)
        try:
            found = WORD_METRICS[name](samples, refs) if name in WORD_METRICS else _COCO[name](*tokens)
        except C3AlignError as error:
            if metrics is not None:
                raise
            absent[name] = str(error)
        else:
            result.update(found if isinstance(found, dict) else {name: found})
    return {**result, "absent": absent} if metrics is None else result


def _checked(candidates: Any, references: Any) -> tuple[list[list[str]], list[list[str]]]:
    if len(candidates) != len(references) or not len(candidates):
        raise C3AlignError(
            f"there are {len(candidates)} candidates and references of {len(references)} items; pass one or more of "
            "both for every item"
        )
    samples = [[item] if isinstance(item, str) else list(item) for item in candidates]
    if any(isinstance(item, str) for item in references):
        raise C3AlignError("a string stands where an item's references are; pass a list of strings for each item")
    refs = [list(item) for item in references]
    for what, lists in (("candidates", samples), ("references", refs)):
        for i, captions in enumerate(lists):
            if not captions or not all(isinstance(caption, str) for caption in captions):
                raise C3AlignError(f"the {what} of item {i} are {captions!r}; pass a string or more")
    return samples, refs


def _choose_tokenizer(asked: str) -> str:
    if asked not in TOKENIZERS:
        raise C3AlignError(f"tokenizer={asked!r} is unknown; pass one of {', '.join(TOKENIZERS)}")
    if asked == "auto":
        return "ptb" if shutil.which("java") else "plain"
    if asked == "ptb":
        _need_java()
    return asked


def _need_java() -> None:
    if not shutil.which("java"):
        raise MissingExtraError(f"{_JAVA}, or score with tokenizer='plain' and without METEOR and SPICE")


Tokens = dict[int, list[str]]


def _tokens(samples: list[list[str]], references: list[list[str]], tokenizer: str) -> tuple[Tokens, Tokens]:
    """References and candidates as pycocoevalcap takes them: captions of tokens with spaces between, by item."""
    tokenize = _ptb if tokenizer == "ptb" else _plain
    flat = tokenize([caption for lists in (references, samples) for captions in lists for caption in captions])
    parts = iter(flat)
    refs, candidates = (
        {i: [next(parts) for _ in captions] for i, captions in enumerate(lists)} for lists in (references, samples)
    )
    return refs, candidates


def _plain(captions: list[str]) -> list[str]:
    return [" ".join(plain_words(caption)) for caption in captions]


def _ptb(captions: list[str]) -> list[str]:
    """Stanford's tokenizer, called as pycocoevalcap's wrapper does, without its scratch file in site-packages."""
    wrapper = need("pycocoevalcap.tokenizer.ptbtokenizer", "pycocoevalcap", "scores")
    jar = Path(wrapper.__file__).with_name(wrapper.STANFORD_CORENLP_3_4_1_JAR)
    options = ["-preserveLines", "-lowerCase", "-encoding", "UTF-8"]
    command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", *options]
    # a caption is one line, whatever separators it holds
    text = "".join(" ".join(caption.replace("|||", " ").split()) + "\n" for caption in captions)
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    lines = done.stdout.decode().split("\n")[:-1]
    if done.returncode or len(lines) != len(captions):
        raise C3AlignError(
            f"the PTB tokenizer ended with {done.returncode} and {len(lines)} of {len(captions)} captions "
            f"({_last_line(done.stderr)}); repair the Java, or pass tokenizer='plain'"
        )
    return [" ".join(word for word in line.split() if word not in wrapper.PUNCTUATIONS) for line in lines]


def _last_line(output: bytes) -> str:
    return (output.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1][:200]


def _scorer(room: str, name: str) -> Any:
    return getattr(need(f"pycocoevalcap.{room}.{room}", "pycocoevalcap", "scores"), name)


def _bleu(references: Tokens, candidates: Tokens) -> dict[str, float]:
    scores, _ = _scorer("bleu", "Bleu")(4).compute_score(references, candidates, verbose=0)
    return {f"bleu_{order}": float(score) for order, score in enumerate(scores, start=1)}


def _rouge_l(references: Tokens, candidates: Tokens) -> float:
    return float(_scorer("rouge", "Rouge")().compute_score(references, candidates)[0])


def _cider(references: Tokens, candidates: Tokens) -> float:
    if len(references) < 2:
        raise C3AlignError("CIDEr weighs words by how many items they are rare in, and there is one; pass more items")
    return float(_scorer("cider", "Cider")().compute_score(references, candidates)[0])


def _meteor(references: Tokens, candidates: Tokens) -> float:
    _need_java()
    scorer = _scorer("meteor", "Meteor")()
    try:
        return float(scorer.compute_score(references, candidates)[0])
    except (ValueError, OSError) as error:  # it reads numbers from a pipe
        scorer.lock.release()  # which it holds, and wants again when it is deleted
        with suppress(OSError):
            scorer.meteor_p.stdin.close()
        raise C3AlignError(
            f"METEOR's Java gave no score ({error}); it takes 2 GB of memory: see that they are free, or leave it out"
        ) from error


def _spice(references: Tokens, candidates: Tokens) -> float:
    _need_java()
    room = need("pycocoevalcap.spice.spice", "pycocoevalcap", "scores")
    folder = Path(room.__file__).parent / "lib"
    missing = [name for name in _SPICE_FILES if not (folder / name).is_file()]
    if missing:  # the package would download them without a word
        raise MissingExtraError(
            f"SPICE needs {' and '.join(missing)} in {folder}; python -m pycocoevalcap.spice.get_stanford_models "
            "downloads them (400 MB)"
        )
    try:
        return float(room.Spice().compute_score(references, candidates)[0])
    except (subprocess.CalledProcessError, OSError) as error:
        raise C3AlignError(f"SPICE's Java failed ({error}); it wants 8 GB of memory and was made for Java 8") from error


_COCO: dict[str, Callable[[Tokens, Tokens], Any]] = {
    "bleu": _bleu,
    "rouge_l": _rouge_l,
    "cider": _cider,
    "meteor": _meteor,
    "spice": _spice,
}
