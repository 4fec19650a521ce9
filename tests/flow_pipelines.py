"""Flow-matching pipelines of diffusers with random weights: images and video, without encoders.

Prompts are given as embeddings, and the latents are the result, so that no text encoder, tokenizer
or autoencoder is needed but where a pipeline asks one for its numbers.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import pipelines
import torch
from torch import Tensor

D = diffusers


def embeddings(*shape: int, seed: int = 0) -> Tensor:
    """Random embeddings of a prompt."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def attended(n: int, *names: str) -> dict[str, Tensor]:
    """Masks (1, n) by which every token counts."""
    return {name: torch.ones(1, n, dtype=torch.bool) for name in names}


def both(name: str, *shape: int) -> dict[str, Tensor]:
    """Embeddings of a prompt and of a negative one."""
    return {name: embeddings(*shape), f"negative_{name}": embeddings(*shape, seed=1)}


MASKS = ("prompt_attention_mask", "negative_prompt_attention_mask")


class VideoAutoencoder(torch.nn.Module):
    """What video pipelines ask of an autoencoder: how it compresses, and latents of an image."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, channels: int, spatial: int, temporal: int) -> None:
        super().__init__()
        self.channels, self.spatial, self.temporal = channels, spatial, temporal
        self.spatial_compression_ratio = spatial
        self.temporal_compression_ratio = temporal
        self.temperal_downsample = [False] * (spatial.bit_length() - 1)
        self.latents_mean = torch.zeros(channels)
        self.latents_std = torch.ones(channels)
        self.config = SimpleNamespace(
            z_dim=channels,
            latent_channels=channels,
            scale_factor_spatial=spatial,
            scale_factor_temporal=temporal,
            latents_mean=[0.0] * channels,
            latents_std=[1.0] * channels,
            scaling_factor=1.0,
            block_out_channels=[1] * spatial.bit_length(),
        )

    def encode(self, video: Tensor) -> Any:
        """The mean of every patch (B, channels, T', H', W')."""
        b, _, t, h, w = video.shape
        shape = ((t - 1) // self.temporal + 1, h // self.spatial, w // self.spatial)
        found = torch.nn.functional.adaptive_avg_pool3d(video[:, :1], shape)
        return SimpleNamespace(latents=found.expand(b, self.channels, *shape))


def without(*names: str) -> dict[str, None]:
    """Parts of a pipeline that are left out."""
    return dict.fromkeys(names)


def euler(**words: Any) -> Any:
    """Euler's method for flow matching."""
    return D.FlowMatchEulerDiscreteScheduler(**words)


TEXT_PAIR = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")


def flux_transformer(in_channels: int = 4, out_channels: int | None = None) -> Any:
    """Two layers."""
    return D.FluxTransformer2DModel(
        patch_size=1,
        in_channels=in_channels,
        out_channels=out_channels,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
    ).eval()


def flux_autoencoder() -> Any:
    """One latent channel."""
    return pipelines.autoencoder(
        channels=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.06,
        scaling_factor=1.5,
    )


def flux_prompt() -> dict[str, Tensor]:
    """Four tokens, and their pooled embedding."""
    return {"prompt_embeds": embeddings(1, 4, 32), "pooled_prompt_embeds": embeddings(1, 32)}


def flux_kontext() -> Any:
    """An image is edited."""
    pipe = D.FluxKontextPipeline(
        **without(*TEXT_PAIR),
        scheduler=euler(shift=3.0, use_dynamic_shifting=True),
        vae=flux_autoencoder(),
        transformer=flux_transformer(),
    )
    words = {"image": pipelines.picture(), "max_area": 32 * 32, "_auto_resize": False}
    return pipe, {**flux_prompt(), **pipelines.IMAGE, **words}


def flux_fill() -> Any:
    """Inpainting by a model that sees image and mask."""
    pipe = D.FluxFillPipeline(
        **without(*TEXT_PAIR),
        scheduler=euler(shift=3.0, use_dynamic_shifting=True),
        vae=flux_autoencoder(),
        transformer=flux_transformer(4 + 4 + 4 * 4, 4),
    )
    words = {"image": pipelines.picture(), "mask_image": pipelines.half_mask()}
    return pipe, {**flux_prompt(), **pipelines.IMAGE, **words}


def flux_controlnet() -> Any:
    """With a picture that guides."""
    control = D.FluxControlNetModel(
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
    pipe = D.FluxControlNetPipeline(
        **without(*TEXT_PAIR),
        scheduler=euler(shift=3.0, use_dynamic_shifting=True),
        vae=flux_autoencoder(),
        transformer=flux_transformer(),
        controlnet=control,
    )
    return pipe, {**flux_prompt(), **pipelines.IMAGE, "control_image": pipelines.picture()}


def chroma() -> Any:
    """FLUX without its embedded scale."""
    transformer = D.ChromaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    ).eval()
    pipe = D.ChromaPipeline(
        **without("text_encoder", "tokenizer"),
        scheduler=euler(use_dynamic_shifting=True),
        vae=flux_autoencoder(),
        transformer=transformer,
    )
    return pipe, {**both("prompt_embeds", 1, 4, 32), **attended(4, *MASKS), **pipelines.IMAGE}


def sana(scheduler: Any = None) -> Any:
    """Linear attention, and a solver of another family in its file."""
    transformer = D.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=8,
        sample_size=8,
    ).eval()
    own = D.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    pipe = D.SanaPipeline(
        **without("text_encoder", "tokenizer", "vae"),
        transformer=transformer,
        scheduler=scheduler or own,
    )
    pipe.vae_scale_factor = 4
    words = {**pipelines.IMAGE, "negative_prompt": None, "use_resolution_binning": False}
    return pipe, {**both("prompt_embeds", 1, 4, 8), **attended(4, *MASKS), **words}


def aura_flow() -> Any:
    """A static shift."""
    transformer = D.AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=8,
        caption_projection_dim=16,
        out_channels=4,
        pos_embed_max_size=16,
    ).eval()
    pipe = D.AuraFlowPipeline(
        **without("text_encoder", "tokenizer", "vae"),
        transformer=transformer,
        scheduler=euler(shift=1.73),
    )
    return pipe, {
        **both("prompt_embeds", 1, 4, 8),
        **attended(4, *MASKS),
        "height": 64,
        "width": 64,
    }


def lumina2() -> Any:
    """A model that is told 1 - s, and whose velocity points to the data."""
    transformer = D.Lumina2Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        hidden_size=16,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(64, 16, 16),
        cap_feat_dim=8,
    ).eval()
    pipe = D.Lumina2Pipeline(
        **without("text_encoder", "tokenizer", "vae"),
        transformer=transformer,
        scheduler=euler(shift=6.0),
    )
    return pipe, {
        **both("prompt_embeds", 1, 4, 8),
        **attended(4, *MASKS),
        "height": 64,
        "width": 64,
    }


def cogview4() -> Any:
    """A linear shift by the size of the image."""
    transformer = D.CogView4Transformer2DModel(
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=4,
        out_channels=4,
        text_embed_dim=32,
        time_embed_dim=8,
        condition_dim=4,
        rope_axes_dim=(256, 256),
    ).eval()
    pipe = D.CogView4Pipeline(
        **without("text_encoder", "tokenizer", "vae"),
        transformer=transformer,
        scheduler=euler(
            base_shift=0.25,
            max_shift=0.75,
            use_dynamic_shifting=True,
            time_shift_type="linear",
        ),
    )
    return pipe, {**both("prompt_embeds", 1, 16, 32), "height": 64, "width": 64}


def ltx_transformer() -> Any:
    """One layer."""
    return D.LTXVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=1,
        caption_channels=8,
    ).eval()


def ltx(kind: Any = None) -> Any:
    """Video whose grid ends above zero."""
    pipe = (kind or D.LTXPipeline)(
        **without("text_encoder", "tokenizer"),
        transformer=ltx_transformer(),
        vae=None,
        scheduler=euler(
            use_dynamic_shifting=True,
            base_shift=0.95,
            max_shift=2.05,
            base_image_seq_len=1024,
            shift_terminal=0.1,
        ),
    )
    size = {"height": 64, "width": 64, "num_frames": 9}
    return pipe, {**both("prompt_embeds", 1, 4, 8), **attended(4, *MASKS), **size}


def wan_transformer(**words: Any) -> Any:
    """One layer."""
    return D.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        out_channels=4,
        text_dim=8,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        **words,
    ).eval()


def unipc_flow(shift: float) -> Any:
    """UniPC for flow matching."""
    return D.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )


def wan() -> Any:
    """Video, of two networks: one for much noise and one for little."""
    pipe = D.WanPipeline(
        **without("text_encoder", "tokenizer"),
        transformer=wan_transformer(in_channels=4),
        transformer_2=wan_transformer(in_channels=4),
        boundary_ratio=0.8,
        vae=VideoAutoencoder(4, 8, 4),
        scheduler=unipc_flow(3.0),
    )
    size = {"height": 32, "width": 32, "num_frames": 5}
    return pipe, {**both("prompt_embeds", 1, 4, 8), **size}


def hunyuan_video() -> Any:
    """Video by a static shift."""
    transformer = D.HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
    ).eval()
    pipe = D.HunyuanVideoPipeline(
        **without(*TEXT_PAIR, "vae"), transformer=transformer, scheduler=euler(shift=7.0)
    )
    prompt = {
        "prompt_embeds": embeddings(1, 4, 16),
        "pooled_prompt_embeds": embeddings(1, 8),
        **attended(4, "prompt_attention_mask"),
    }
    return pipe, {**prompt, "height": 32, "width": 32, "num_frames": 5}


def mochi() -> Any:
    """A flow that counts its levels from the data's side."""
    transformer = D.MochiTransformer3DModel(
        patch_size=2,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=4,
        text_embed_dim=8,
        time_embed_dim=4,
        max_sequence_length=16,
    ).eval()
    pipe = D.MochiPipeline(
        **without("text_encoder", "tokenizer", "vae"),
        transformer=transformer,
        scheduler=euler(invert_sigmas=True),
    )
    size = {"height": 32, "width": 32, "num_frames": 7}
    return pipe, {**both("prompt_embeds", 1, 16, 8), **attended(16, *MASKS), **size}


def qwen_image(kind: Any = None) -> Any:
    """A shift by the size of the image, and a grid that ends above zero."""
    transformer = D.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    ).eval()
    pipe = (kind or D.QwenImagePipeline)(
        **without("text_encoder", "tokenizer"),
        transformer=transformer,
        vae=VideoAutoencoder(4, 8, 1),
        scheduler=euler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, shift_terminal=0.02
        ),
    )
    prompt = both("prompt_embeds", 1, 4, 16)
    masks = attended(4, "prompt_embeds_mask", "negative_prompt_embeds_mask")
    return pipe, {**prompt, **masks, **pipelines.IMAGE}


def z_image() -> Any:
    """A model that is told 1 - s."""
    transformer = D.ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=8,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 32, 32],
    ).eval()
    pipe = D.ZImagePipeline(
        **without("text_encoder", "tokenizer"),
        transformer=transformer,
        vae=VideoAutoencoder(4, 8, 1),
        scheduler=euler(shift=3.0),
    )
    prompts = {
        "prompt_embeds": [embeddings(4, 8)],
        "negative_prompt_embeds": [embeddings(4, 8, seed=1)],
    }
    return pipe, {**prompts, "height": 64, "width": 64}


def flux_2() -> Any:
    """FLUX.2: latents of another layout, and a shift by the number of steps."""
    transformer = D.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
    ).eval()
    pipe = D.Flux2Pipeline(
        **without("text_encoder", "tokenizer"),
        transformer=transformer,
        vae=VideoAutoencoder(4, 8, 1),
        scheduler=euler(shift=3.0, use_dynamic_shifting=True),
    )
    return pipe, {"prompt_embeds": embeddings(1, 4, 16), "height": 64, "width": 64}
