"""Pipelines of diffusers with random weights, small enough to run end to end in a test."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import diffusers
import torch
import transformers

SIZE = 32  # pixels; 8 latents a side at most
IMAGE = {"height": SIZE, "width": SIZE}


def clip_tokenizer() -> Any:
    """Bytes as words: no file is read."""
    known = sorted(set(range(33, 127)) | set(range(161, 173)) | set(range(174, 256)))
    others = [b for b in range(256) if b not in known]
    letters = [chr(b) for b in known] + [chr(256 + i) for i in range(len(others))]
    words = [*letters, *(letter + "</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def t5_tokenizer() -> Any:
    """Letters as words, by a unigram model."""
    from tokenizers import Tokenizer, models

    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0)]
    words += [(chr(c), -3.0) for c in range(32, 127)]
    made = Tokenizer(models.Unigram(words, unk_id=2))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def clip_text(projection: bool = False, hidden: int = 32) -> Any:
    """A text encoder of two layers."""
    config = transformers.CLIPTextConfig(
        vocab_size=514,
        hidden_size=hidden,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=hidden,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    return kind(config).eval()


def t5_text() -> Any:
    """A T5 encoder of one layer."""
    config = transformers.T5Config(
        vocab_size=128, d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4
    )
    return transformers.T5EncoderModel(config).eval()


def autoencoder(channels: int = 4, **words: Any) -> Any:
    """A VAE that halves the size."""
    return diffusers.AutoencoderKL(
        block_out_channels=[32, 64],
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=channels,
        norm_num_groups=16,
        **words,
    ).eval()


def unet(**words: Any) -> Any:
    """A UNet of two levels with cross attention."""
    return diffusers.UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=SIZE // 2,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        **words,
    ).eval()


def stable_diffusion(kind: Any = None) -> Any:
    """Stable Diffusion, or its image-to-image and inpainting pipelines."""
    torch.manual_seed(0)
    kind = kind or diffusers.StableDiffusionPipeline
    return quiet(
        kind(
            vae=autoencoder(),
            text_encoder=clip_text(),
            tokenizer=clip_tokenizer(),
            unet=unet(cross_attention_dim=32),
            scheduler=diffusers.PNDMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                skip_prk_steps=True,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def stable_diffusion_xl(kind: Any = None) -> Any:
    """SDXL, or its image-to-image and inpainting pipelines."""
    torch.manual_seed(0)
    kind = kind or diffusers.StableDiffusionXLPipeline
    return quiet(
        kind(
            vae=autoencoder(),
            text_encoder=clip_text(),
            text_encoder_2=clip_text(projection=True),
            tokenizer=clip_tokenizer(),
            tokenizer_2=clip_tokenizer(),
            unet=unet(
                cross_attention_dim=64,
                attention_head_dim=(2, 4),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                transformer_layers_per_block=(1, 1),
                projection_class_embeddings_input_dim=6 * 8 + 32,
            ),
            scheduler=diffusers.EulerDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                steps_offset=1,
                timestep_spacing="leading",
            ),
        )
    )


def stable_diffusion_3(kind: Any = None) -> Any:
    """SD3 with a transformer of one layer."""
    torch.manual_seed(0)
    kind = kind or diffusers.StableDiffusion3Pipeline
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=SIZE // 2,
        patch_size=1,
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        pooled_projection_dim=64,
        out_channels=16,
    ).eval()
    vae = autoencoder(16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06)
    return quiet(
        kind(
            transformer=transformer,
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=vae,
            text_encoder=clip_text(projection=True),
            tokenizer=clip_tokenizer(),
            text_encoder_2=clip_text(projection=True),
            tokenizer_2=clip_tokenizer(),
            text_encoder_3=t5_text(),
            tokenizer_3=t5_tokenizer(),
        )
    )


def flux(kind: Any = None) -> Any:
    """FLUX with a transformer of two layers, and the shift that depends on the image's size."""
    torch.manual_seed(0)
    kind = kind or diffusers.FluxPipeline
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
    ).eval()
    return quiet(
        kind(
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
                shift=3.0, use_dynamic_shifting=True
            ),
            vae=autoencoder(
                channels=1,
                use_quant_conv=False,
                use_post_quant_conv=False,
                shift_factor=0.06,
                scaling_factor=1.5,
            ),
            text_encoder=clip_text(),
            tokenizer=clip_tokenizer(),
            text_encoder_2=t5_text(),
            tokenizer_2=t5_tokenizer(),
            transformer=transformer,
        )
    )


def dit() -> Any:
    """Class-conditional DiT whose network also learns the variance."""
    torch.manual_seed(0)
    transformer = diffusers.DiTTransformer2DModel(
        sample_size=SIZE // 2,
        num_layers=1,
        patch_size=4,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        num_embeds_ada_norm=1000,
    ).eval()
    return quiet(
        diffusers.DiTPipeline(
            transformer=transformer, vae=autoencoder(), scheduler=diffusers.DDIMScheduler()
        )
    )


def quiet(pipe: Any) -> Any:
    """Without a progress bar."""
    pipe.set_progress_bar_config(disable=True)
    return pipe


@lru_cache(maxsize=1)
def picture() -> Any:
    """An image to start from."""
    from PIL import Image

    values = torch.linspace(0, 255, SIZE * SIZE * 3).reshape(SIZE, SIZE, 3).to(torch.uint8)
    return Image.fromarray(values.numpy())


@lru_cache(maxsize=1)
def half_mask() -> Any:
    """White where something new is wanted: the right half."""
    from PIL import Image

    values = torch.zeros(SIZE, SIZE, dtype=torch.uint8)
    values[:, SIZE // 2 :] = 255
    return Image.fromarray(values.numpy())
