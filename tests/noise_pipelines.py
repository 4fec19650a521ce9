"""Pipelines of diffusers for models with betas, with random weights: images, video and sound."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import pipelines
import torch
from flow_pipelines import MASKS, attended, both, embeddings, without

D = diffusers
CLIP = ("text_encoder", "tokenizer", "feature_extractor")
SMALL = {"height": 16, "width": 16}
SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def safe() -> dict[str, Any]:
    """What Stable Diffusion's pipelines want to know of safety."""
    return {"safety_checker": None, "requires_safety_checker": False}


def controlled() -> Any:
    """A network beside the UNet."""
    return D.ControlNetModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        in_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        conditioning_embedding_out_channels=(4, 8),
        norm_num_groups=8,
        cross_attention_dim=32,
    ).eval()


def stable_diffusion_2() -> Any:
    """Stable Diffusion 2: predicts v."""
    pipe = D.StableDiffusionPipeline(
        **without(*CLIP),
        **safe(),
        vae=pipelines.autoencoder(),
        unet=pipelines.unet(cross_attention_dim=32),
        scheduler=D.DDIMScheduler(
            **SCALED,
            prediction_type="v_prediction",
            set_alpha_to_one=False,
            clip_sample=False,
            steps_offset=1,
        ),
    )
    return pipe, {**both("prompt_embeds", 1, 4, 32), **pipelines.IMAGE}


def controlnet() -> Any:
    """Stable Diffusion with a picture that guides."""
    pipe = D.StableDiffusionControlNetPipeline(
        **without(*CLIP),
        **safe(),
        vae=pipelines.autoencoder(),
        unet=pipelines.unet(cross_attention_dim=32),
        controlnet=controlled(),
        scheduler=D.DDIMScheduler(
            **SCALED, clip_sample=False, set_alpha_to_one=False, steps_offset=1
        ),
    )
    words = {"image": pipelines.picture(), **pipelines.IMAGE}
    return pipe, {**both("prompt_embeds", 1, 4, 32), **words}


def instruct_pix2pix() -> Any:
    """An image is edited; two scales of guidance."""
    unet = D.UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=16,
        in_channels=8,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        cross_attention_dim=32,
    ).eval()
    pipe = D.StableDiffusionInstructPix2PixPipeline(
        **without(*CLIP),
        **safe(),
        vae=pipelines.autoencoder(),
        unet=unet,
        scheduler=D.EulerAncestralDiscreteScheduler(**SCALED, steps_offset=1),
    )
    return pipe, {**both("prompt_embeds", 1, 4, 32), "image": pipelines.picture()}


def turbo() -> Any:
    """A model distilled to few steps on its trailing times, without a guidance scale."""
    pipe = D.StableDiffusionPipeline(
        **without(*CLIP),
        **safe(),
        vae=pipelines.autoencoder(),
        unet=pipelines.unet(cross_attention_dim=32),
        scheduler=D.EulerDiscreteScheduler(**SCALED, timestep_spacing="trailing"),
    )
    return pipe, {**both("prompt_embeds", 1, 4, 32), **pipelines.IMAGE, "guidance_scale": 0.0}


def latent_consistency() -> Any:
    """Distilled, and told of its original schedule."""
    pipe = D.LatentConsistencyModelPipeline(
        **without(*CLIP),
        **safe(),
        vae=pipelines.autoencoder(),
        unet=pipelines.unet(cross_attention_dim=32, time_cond_proj_dim=8),
        scheduler=D.LCMScheduler(**SCALED),
    )
    return pipe, {"prompt_embeds": embeddings(1, 4, 32), **pipelines.IMAGE}


def pixart() -> Any:
    """Learns the variance, too, of which the pipeline gives nothing to the scheduler."""
    transformer = D.PixArtTransformer2DModel(
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=16,
        caption_channels=16,
        use_additional_conditions=False,
    ).eval()
    pipe = D.PixArtSigmaPipeline(
        **without("text_encoder", "tokenizer", "vae"),
        transformer=transformer,
        scheduler=D.DPMSolverMultistepScheduler(),
    )
    words = {"height": 64, "width": 64, "use_resolution_binning": False, "negative_prompt": None}
    return pipe, {**both("prompt_embeds", 1, 4, 16), **attended(4, *MASKS), **words}


def hunyuan_dit() -> Any:
    """Two prompts, v, and betas that end at 0.03."""
    transformer = D.HunyuanDiT2DModel(
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        hidden_size=16,
        cross_attention_dim=8,
        cross_attention_dim_t5=8,
        pooled_projection_dim=8,
        text_len=4,
        text_len_t5=4,
        activation_fn="gelu-approximate",
        use_style_cond_and_image_meta_size=False,
    ).eval()
    pipe = D.HunyuanDiTPipeline(
        **without("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "vae"),
        **safe(),
        feature_extractor=None,
        transformer=transformer,
        scheduler=D.DDPMScheduler(
            **{**SCALED, "beta_end": 0.02},
            prediction_type="v_prediction",
            steps_offset=1,
            clip_sample=False,
        ),
    )
    prompts = {**both("prompt_embeds", 1, 4, 8), **both("prompt_embeds_2", 1, 4, 8)}
    masks = attended(4, *MASKS, *(f"{name}_2" for name in MASKS))
    words = {"height": 128, "width": 128, "use_resolution_binning": False}
    return pipe, {**prompts, **masks, **words}


def cogvideox() -> Any:
    """Video, on a schedule that ends in pure noise."""
    transformer = D.CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        time_embed_dim=4,
        text_embed_dim=8,
        num_layers=1,
        sample_width=4,
        sample_height=4,
        sample_frames=5,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=4,
    ).eval()
    pipe = D.CogVideoXPipeline(
        **without("text_encoder", "tokenizer", "vae"),
        transformer=transformer,
        scheduler=D.CogVideoXDDIMScheduler(
            **SCALED,
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            snr_shift_scale=3.0,
            timestep_spacing="trailing",
            clip_sample=False,
        ),
    )
    words = {"num_frames": 5, "max_sequence_length": 4}
    return pipe, {**both("prompt_embeds", 1, 4, 8), **words}


def cogview3() -> Any:
    """Images on CogVideoX's schedule."""
    transformer = D.CogView3PlusTransformer2DModel(
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        out_channels=4,
        text_embed_dim=8,
        time_embed_dim=8,
        condition_dim=2,
        pos_embed_max_size=8,
        sample_size=8,
    ).eval()
    pipe = D.CogView3PlusPipeline(
        **without("text_encoder", "tokenizer", "vae"),
        transformer=transformer,
        scheduler=D.CogVideoXDDIMScheduler(
            **SCALED,
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            snr_shift_scale=4.0,
            timestep_spacing="trailing",
            clip_sample=False,
        ),
    )
    return pipe, {**both("prompt_embeds", 1, 4, 8), "height": 64, "width": 64}


def animate_diff() -> Any:
    """Stable Diffusion with layers that look along time."""
    adapter = D.MotionAdapter(
        block_out_channels=(16, 32),
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=8,
    ).eval()
    pipe = D.AnimateDiffPipeline(
        **without(*CLIP),
        vae=pipelines.autoencoder(),
        unet=pipelines.unet(cross_attention_dim=32),
        motion_adapter=adapter,
        scheduler=D.DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="linear",
            clip_sample=False,
            steps_offset=1,
        ),
    )
    return pipe, {**both("prompt_embeds", 1, 4, 32), **SMALL, "num_frames": 2}


class ImageEncoder(torch.nn.Module):
    """An embedding of every image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = torch.nn.Linear(3, width)

    dtype, device = torch.float32, torch.device("cpu")

    def forward(self, image: torch.Tensor) -> Any:
        """(B, width)."""
        return SimpleNamespace(image_embeds=self.project(image.mean((-2, -1))))


def stable_video() -> Any:
    """An image moves; the network is told a quarter of log sigma."""
    unet = D.UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=8,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=8,
        num_attention_heads=2,
        projection_class_embeddings_input_dim=24,
        addition_time_embed_dim=8,
        num_frames=2,
    ).eval()
    vae = D.AutoencoderKLTemporalDecoder(
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D"] * 2,
        latent_channels=4,
    ).eval()
    from transformers import CLIPImageProcessor

    pipe = D.StableVideoDiffusionPipeline(
        vae=vae,
        image_encoder=ImageEncoder(8),
        unet=unet,
        scheduler=D.EulerDiscreteScheduler(
            **SCALED,
            interpolation_type="linear",
            prediction_type="v_prediction",
            sigma_max=700.0,
            sigma_min=0.002,
            timestep_spacing="leading",
            timestep_type="continuous",
            use_karras_sigmas=True,
        ),
        feature_extractor=CLIPImageProcessor(crop_size=32, size=32),
    )
    return pipe, {"image": pipelines.picture(), **SMALL, "num_frames": 2}


def latte() -> Any:
    """Video by a transformer."""
    transformer = D.LatteTransformer3DModel(
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        caption_channels=8,
        cross_attention_dim=16,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        num_embeds_ada_norm=1000,
        video_length=2,
    ).eval()
    pipe = D.LattePipeline(
        **without("text_encoder", "tokenizer", "vae"),
        transformer=transformer,
        scheduler=D.DDIMScheduler(
            beta_start=0.0001,
            beta_end=0.02,
            beta_schedule="linear",
            clip_sample=False,
        ),
    )
    words = {"height": 64, "width": 64, "video_length": 2, "mask_feature": False}
    return pipe, {**both("prompt_embeds", 1, 4, 8), **words, "negative_prompt": None}


class TextEncoder(torch.nn.Module):
    """What a pipeline asks of an encoder that it does not call."""

    dtype, device = torch.float32, torch.device("cpu")
    config = SimpleNamespace(model_type="t5")


class Vocoder(torch.nn.Module):
    """Sound of a spectrogram: the mean of every frame."""

    dtype, device = torch.float32, torch.device("cpu")
    config = SimpleNamespace(upsample_rates=[2], sampling_rate=16, model_in_dim=8)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """(B, T) of (B, T, F)."""
        return spectrogram.mean(-1)


def audio_ldm2() -> Any:
    """Sound, prompted by two encoders."""
    unet = D.AudioLDM2UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(None, 8),
        transformer_layers_per_block=1,
    ).eval()
    parts = ("text_encoder", "tokenizer", "tokenizer_2", "projection_model")
    pipe = D.AudioLDM2Pipeline(
        **without(*parts, "feature_extractor"),
        text_encoder_2=TextEncoder(),
        language_model=TextEncoder(),
        vae=pipelines.autoencoder(),
        unet=unet,
        vocoder=Vocoder(),
        scheduler=D.DDIMScheduler(
            beta_start=0.0015,
            beta_end=0.0195,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
        ),
    )
    prompts = {**both("prompt_embeds", 1, 4, 8), **both("generated_prompt_embeds", 1, 4, 8)}
    masks = attended(4, "attention_mask", "negative_attention_mask")
    return pipe, {**prompts, **masks, "audio_length_in_s": 1.0}


def pixels(**words: Any) -> Any:
    """A UNet without a condition."""
    return D.UNet2DModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=8,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        **words,
    ).eval()


def ddpm() -> Any:
    """Images without a condition, in pixels."""
    return D.DDPMPipeline(pixels(), D.DDPMScheduler(clip_sample=False)), {"output_type": "np"}


def ddim() -> Any:
    """The same by DDIM."""
    return D.DDIMPipeline(pixels(), D.DDIMScheduler(clip_sample=False)), {"output_type": "np"}


def latent_diffusion() -> Any:
    """Images without a condition, in latents."""
    vqvae = D.VQModel(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
    ).eval()
    scheduler = D.DDIMScheduler(
        beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False
    )
    return D.LDMPipeline(vqvae, pixels(), scheduler), {"output_type": "np"}


def kandinsky_2() -> Any:
    """Kandinsky 2.2: an image of an embedding; the network learns the variance, too."""
    unet = D.UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=8,
        in_channels=4,
        out_channels=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        norm_num_groups=8,
        cross_attention_dim=16,
        attention_head_dim=4,
        addition_embed_type="image",
        encoder_hid_dim=16,
        encoder_hid_dim_type="image_proj",
        resnet_time_scale_shift="scale_shift",
        class_embed_type=None,
    ).eval()
    pipe = D.KandinskyV22Pipeline(
        unet=unet,
        movq=pipelines.autoencoder(),
        scheduler=D.DDPMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="linear",
            variance_type="learned_range",
            prediction_type="epsilon",
            clip_sample=False,
        ),
    )
    return pipe, {**both("image_embeds", 1, 16), **pipelines.IMAGE}


def kandinsky_3() -> Any:
    """Kandinsky 3."""
    unet = D.Kandinsky3UNet(
        in_channels=4,
        time_embedding_dim=4,
        groups=2,
        attention_head_dim=4,
        layers_per_block=3,
        block_out_channels=(32, 64),
        cross_attention_dim=8,
        encoder_hid_dim=8,
    ).eval()
    pipe = D.Kandinsky3Pipeline(
        **without("text_encoder", "tokenizer"),
        unet=unet,
        movq=pipelines.autoencoder(),
        scheduler=D.DDPMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=False),
    )
    masks = attended(4, "attention_mask", "negative_attention_mask")
    return pipe, {**both("prompt_embeds", 1, 4, 8), **masks, **pipelines.IMAGE}


def marigold() -> Any:
    """The depth of an image."""
    unet = D.UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=16,
        in_channels=8,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        cross_attention_dim=32,
    ).eval()
    pipe = D.MarigoldDepthPipeline(
        unet=unet,
        vae=pipelines.autoencoder(),
        scheduler=D.DDIMScheduler(
            **SCALED,
            prediction_type="v_prediction",
            timestep_spacing="trailing",
            rescale_betas_zero_snr=True,
            clip_sample=False,
        ),
        text_encoder=pipelines.clip_text(),
        tokenizer=pipelines.clip_tokenizer(),
        prediction_type="depth",
        scale_invariant=True,
        shift_invariant=True,
    )
    words = {"image": pipelines.picture(), "processing_resolution": 0, "output_type": "np"}
    return pipe, {**words}


def deepfloyd() -> Any:
    """DeepFloyd IF: pixels, thresholds, and a learned variance."""
    unet = D.UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=16,
        in_channels=3,
        out_channels=6,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        norm_num_groups=8,
        cross_attention_dim=16,
        attention_head_dim=4,
        encoder_hid_dim=8,
        resnet_time_scale_shift="scale_shift",
    ).eval()
    pipe = D.IFPipeline(
        **without("text_encoder", "tokenizer", "feature_extractor", "watermarker"),
        **safe(),
        unet=unet,
        scheduler=D.DDPMScheduler(
            beta_schedule="squaredcos_cap_v2",
            variance_type="learned_range",
            thresholding=True,
            dynamic_thresholding_ratio=0.95,
            sample_max_value=1.5,
            prediction_type="epsilon",
        ),
    )
    size = {"height": 16, "width": 16, "output_type": "np"}
    return pipe, {**both("prompt_embeds", 1, 4, 8), **size}
