"""The libraries' real model classes, with random weights and configurations of a few thousand parameters, on disk.

Built offline: tokenizers are trained on a line of text, and everything is written by `save_pretrained` and read back
by the encoders as a user's folder would be.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

TEXTS = "a photo of the cat and dog on red blue mat with two small birds singing in rain engine music"
WORDS = TEXTS.split()
PICTURE = 32  # pixels
TEXT_LENGTH = 16


def import_torchvision() -> None:
    """torchvision built for CUDA beside a torch that is not misses two operators at import; it is given their names.

    Pictures are resized by what is left of it, which is all that the encoders need.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        import_torchvision.library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            import_torchvision.library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401


def tokenizer(folder: Path):
    """A word tokenizer of Hugging Face, with the special tokens that the family expects."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    core = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    made = PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=TEXT_LENGTH, **names)
    made.save_pretrained(folder)
    return made


def siglip2_tokenizer(folder: Path):
    """SigLIP 2's own kind of tokenizer, whose merges make a token of each of our words."""
    from transformers import Siglip2Tokenizer

    # words behind a space come first, so that no merge of a text's first word breaks them
    marked = [*(f"▁{word}" for word in WORDS), *WORDS]
    merges = [(word[:i], word[i]) for word in marked for i in range(1, len(word))]
    merges = list(dict.fromkeys(merges))
    pieces = [*sorted({*"".join(marked)}), *(a + b for a, b in merges)]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*special, *pieces]))}
    made = Siglip2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=TEXT_LENGTH)
    made.save_pretrained(folder)
    return made


SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SMALL, "vocab_size": 40, "max_position_embeddings": TEXT_LENGTH, "bos_token_id": 0, "eos_token_id": 2}
VISION = {**SMALL, "image_size": PICTURE, "patch_size": 8}
EDGE = {"height": PICTURE, "width": PICTURE}


def _clip(folder, config="CLIPConfig", model="CLIPModel"):
    import transformers as hf

    made = getattr(hf, config)(text_config={**TEXT, "pad_token_id": 1}, vision_config=VISION, projection_dim=24)
    images = hf.CLIPImageProcessor(size={"shortest_edge": PICTURE}, crop_size=EDGE)
    return getattr(hf, model)(made), hf.CLIPProcessor(images, tokenizer(folder))


def _metaclip_2(folder):
    return _clip(folder, "MetaClip2Config", "MetaClip2Model")


def _siglip(folder):
    import transformers as hf

    config = hf.SiglipConfig(text_config={**TEXT, "pad_token_id": 1}, vision_config=VISION)
    return hf.SiglipModel(config), hf.SiglipProcessor(hf.SiglipImageProcessor(size=EDGE), tokenizer(folder))


def _siglip2(folder):
    import transformers as hf

    vision = {**SMALL, "num_patches": 16, "patch_size": 8}
    words = siglip2_tokenizer(folder)
    text = {**TEXT, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1, "vocab_size": len(words)}
    config = hf.Siglip2Config(text_config=text, vision_config=vision)
    images = hf.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    return hf.Siglip2Model(config), hf.Siglip2Processor(images, words)


def _siglip2_fixed(folder):
    """SigLIP 2 of fixed resolution: a model of SigLIP with Gemma's tokenizer, which keeps capitals."""
    import transformers as hf

    core = json.loads(siglip2_tokenizer(folder).backend_tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in core["merges"]]
    words = hf.GemmaTokenizer(vocab=core["vocab"], merges=merges, model_max_length=TEXT_LENGTH)
    text = {**TEXT, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1, "vocab_size": len(words)}
    config = hf.SiglipConfig(text_config=text, vision_config=VISION)
    return hf.SiglipModel(config), hf.SiglipProcessor(hf.SiglipImageProcessor(size=EDGE), words)


def _align(folder):
    import transformers as hf

    text = {**TEXT, "pad_token_id": 1, "type_vocab_size": 2}
    vision = {
        "image_size": PICTURE,
        "hidden_dim": 24,
        "kernel_sizes": [3],
        "in_channels": [32],
        "out_channels": [12],
        "strides": [1],
        "num_block_repeats": [1],
        "expand_ratios": [1],
        "depthwise_padding": [],
    }
    config = hf.AlignConfig(text_config=text, vision_config=vision, projection_dim=24)
    images = hf.EfficientNetImageProcessor(size=EDGE, crop_size=EDGE)
    return hf.AlignModel(config), hf.AlignProcessor(images, tokenizer(folder))


def _clap(folder):
    import transformers as hf

    text = {**TEXT, "max_position_embeddings": TEXT_LENGTH + 2, "pad_token_id": 1, "type_vocab_size": 1}
    audio = {
        "num_mel_bins": 64,
        "spec_size": 256,
        "patch_embeds_hidden_size": 16,
        "hidden_size": 128,
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [2, 2, 2, 2],
        "patch_stride": [4, 4],
        "enable_fusion": True,
    }
    config = hf.ClapConfig(text_config=text, audio_config=audio, projection_dim=24)
    extractor = hf.ClapFeatureExtractor(max_length_s=2, truncation="fusion", padding="repeatpad")
    return hf.ClapModel(config), hf.ClapProcessor(extractor, tokenizer(folder))


def _xclip(folder):
    import transformers as hf

    frames_tower = {"mit_hidden_size": 32, "mit_intermediate_size": 64, "mit_num_attention_heads": 2, "num_frames": 4}
    vision = {**VISION, **frames_tower}
    config = hf.XCLIPConfig(text_config={**TEXT, "pad_token_id": 1}, vision_config=vision, projection_dim=32)
    config.prompt_num_attention_heads, config.prompt_layers = 2, 1
    frames = hf.VideoMAEImageProcessor(size={"shortest_edge": PICTURE}, crop_size=EDGE)
    return hf.XCLIPModel(config), hf.XCLIPProcessor(frames, tokenizer(folder))


TRANSFORMERS = {
    "clip": _clip,
    "metaclip_2": _metaclip_2,
    "siglip": _siglip,
    "siglip2": _siglip2,
    "align": _align,
    "clap": _clap,
    "xclip": _xclip,
}


def write_transformers(kind: str, folder: Path) -> str:
    """Write a tiny model and its processor; returns the spec."""
    import_torchvision()
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    model, processor = {**TRANSFORMERS, "siglip2 of fixed resolution": _siglip2_fixed}[kind](folder)
    for parameter in model.parameters():  # random layers of zeros would embed everything alike
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"transformers:{folder}"


def write_open_clip(folder: Path) -> str:
    """Write a tiny open_clip model as a local folder; returns the spec."""
    import_torchvision()
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": PICTURE, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    folder.mkdir(parents=True)
    model = open_clip.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    return f"open_clip:local-dir:{folder}"


def write_sentence_transformers(folder: Path, of_sounds: bool = False) -> str:
    """Write a tiny sentence-transformers model of texts and pictures, or sounds; returns the spec."""
    write_transformers("clap" if of_sounds else "clip", folder / "towers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    kind = modules.Transformer if of_sounds else modules.CLIPModel
    SentenceTransformer(modules=[kind(str(folder / "towers"))]).save(str(folder / "model"))
    return f"sentence-transformers:{folder / 'model'}"
