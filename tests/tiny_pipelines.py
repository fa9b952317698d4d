"""Real pipeline classes of diffusers with random weights of a few thousand parameters, built offline."""

from __future__ import annotations

from pathlib import Path

import torch

from tests import tiny_encoders

N_DIMS, EDGE = 24, 16


def _unet(**changes):
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    common = {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 8}
    return UNet2DConditionModel(**{**common, "in_channels": 4, "attention_head_dim": 4, **changes}).eval()


def _scheduler():
    from diffusers import DDIMScheduler

    return DDIMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=False, steps_offset=1)


def kandinsky(n_dims: int = N_DIMS):
    from diffusers import KandinskyV22Pipeline, VQModel

    unet = _unet(
        out_channels=8,
        addition_embed_type="image",
        encoder_hid_dim=n_dims,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=16,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        resnet_time_scale_shift="scale_shift",
    )
    movq = VQModel(
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        up_block_types=["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
        latent_channels=4,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )
    return KandinskyV22Pipeline(unet, _scheduler(), movq)


def _text_tower(folder: Path):
    import transformers as hf

    config = hf.CLIPTextConfig(**{**tiny_encoders.TEXT, "pad_token_id": 1, "projection_dim": N_DIMS})
    return config, tiny_encoders.tokenizer(folder)


def _image_tower():
    import transformers as hf

    torch.manual_seed(0)
    config = hf.CLIPVisionConfig(**{**tiny_encoders.VISION, "projection_dim": N_DIMS})
    return hf.CLIPVisionModelWithProjection(config).eval()


def kandinsky_prior(folder: Path):
    import transformers as hf
    from diffusers import KandinskyV22PriorPipeline, PriorTransformer, UnCLIPScheduler

    config, tokenizer = _text_tower(folder)
    prior = PriorTransformer(
        num_attention_heads=2, attention_head_dim=4, embedding_dim=N_DIMS, num_layers=1, num_embeddings=16
    )
    text = hf.CLIPTextModelWithProjection(config)
    processor = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=tiny_encoders.EDGE)
    return KandinskyV22PriorPipeline(prior, _image_tower(), text, tokenizer, UnCLIPScheduler(), processor)


def _vae():
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    return AutoencoderKL(block_out_channels=[16, 32], latent_channels=4, norm_num_groups=8, sample_size=16, **blocks)


def _cross_attending(**changes):
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 32,
    }
    return _unet(out_channels=4, **blocks, **changes)


def unclip(folder: Path, mean: torch.Tensor, std: torch.Tensor):
    """Stable unCLIP whose statistics of image embeddings are given."""
    import transformers as hf
    from diffusers import DDPMScheduler, StableUnCLIPImg2ImgPipeline
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer

    config, tokenizer = _text_tower(folder)
    normalizer = StableUnCLIPImageNormalizer(embedding_dim=N_DIMS)
    normalizer.mean.data, normalizer.std.data = mean[None], std[None]
    return StableUnCLIPImg2ImgPipeline(
        feature_extractor=hf.CLIPImageProcessor(),
        image_encoder=_image_tower(),
        image_normalizer=normalizer,
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=tokenizer,
        text_encoder=hf.CLIPTextModel(config).eval(),
        unet=_cross_attending(class_embed_type="projection", projection_class_embeddings_input_dim=2 * N_DIMS),
        scheduler=_scheduler(),
        vae=_vae(),
    )


def stable_diffusion(folder: Path):
    import transformers as hf
    from diffusers import StableDiffusionPipeline

    config, tokenizer = _text_tower(folder)
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=hf.CLIPTextModel(config).eval(),
        tokenizer=tokenizer,
        unet=_cross_attending(),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def ip_adapter(unet, kind: str = "plain") -> dict:
    """Weights of an IP-Adapter, in the layout of its authors' files."""
    torch.manual_seed(1)
    attention = {}
    for i, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            width = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
            for part in ("to_k_ip", "to_v_ip"):
                attention[f"{i}.{part}.weight"] = torch.randn(width, 32) * 0.2
    projection = {"proj.weight": torch.randn(4 * 32, N_DIMS) * 0.2, "proj.bias": torch.zeros(4 * 32)}
    if kind == "full face":
        layers = {"proj.0": (N_DIMS, N_DIMS), "proj.2": (32, N_DIMS), "proj.3": (32,)}
        projection = {f"{layer}.{part}": torch.zeros(shape if part == "weight" else shape[:1])
                      for layer, shape in layers.items() for part in ("weight", "bias")}  # fmt: skip
    norm = {"norm.weight": torch.ones(32), "norm.bias": torch.zeros(32)}
    return {"image_proj": {**projection, **(norm if kind == "plain" else {})}, "ip_adapter": attention}
