"""A small stand-in for the parts of ComfyUI that a node pack meets, written from its interfaces.

`install(monkeypatch)` puts modules `comfy...` into sys.modules; `load(folder)` imports a node pack
as ComfyUI does. A model is a network behind `model_sampling`, a guider around it, and a patcher
that nodes get as MODEL.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from pathlib import Path
from typing import NamedTuple

import torch

PACK = Path(__file__).parents[1] / "comfyui"


def per_row(sigma, x):
    """A sigma, one or one a row, against a state."""
    return sigma if sigma.numel() == 1 else sigma.reshape(-1, *[1] * (x.ndim - 1))


class EPS:
    """x = x0 + sigma noise; the network sees it scaled and predicts the noise."""

    sigma_data = 1.0

    def calculate_input(self, sigma, x):
        return x / torch.sqrt(per_row(sigma, x) ** 2 + self.sigma_data**2)

    def calculate_denoised(self, sigma, output, x):
        return x - output * per_row(sigma, x)

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        sigma = per_row(sigma, noise)
        size = torch.sqrt(1 + sigma**2) if max_denoise else sigma
        return noise * size + latent_image

    def inverse_noise_scaling(self, sigma, latent):
        return latent


class CONST:
    """x = (1 - sigma) x0 + sigma noise; the network predicts the velocity."""

    def calculate_input(self, sigma, x):
        return x

    def calculate_denoised(self, sigma, output, x):
        return x - output * per_row(sigma, x)

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        sigma = per_row(sigma, noise)
        return sigma * getattr(self, "noise_scale", 1.0) * noise + (1 - sigma) * latent_image

    def inverse_noise_scaling(self, sigma, latent):
        return latent / (1 - per_row(sigma, latent))


class Table:
    """What all kinds share: sigmas, rising."""

    @property
    def sigma_min(self):
        return self.sigmas[0]

    @property
    def sigma_max(self):
        return self.sigmas[-1]


class ModelSamplingDiscrete(Table):
    """The betas of Stable Diffusion."""

    def __init__(self):
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        kept = torch.cumprod(1 - betas, 0)
        self.sigmas = torch.sqrt((1 - kept) / kept).float()

    def sigma(self, timestep):
        t = torch.clamp(timestep.float(), min=0, max=999)
        low, part = t.floor().long(), t.frac()
        logs = self.sigmas.log()
        return torch.exp((1 - part) * logs[low] + part * logs[t.ceil().long()])

    def percent_to_sigma(self, percent):
        if percent <= 0:
            return 999999999.9
        return float(self.sigma(torch.tensor((1 - percent) * 999))) if percent < 1 else 0.0


class ModelSamplingDiscreteFlow(Table):
    """SD3: sigma = s t/(1 + (s - 1) t), t = 0.001 to 1."""

    def __init__(self, shift=3.0, noise_scale=1.0):
        self.shift, self.noise_scale = shift, noise_scale
        self.sigmas = self.sigma(torch.arange(1, 1001) / 1000)

    def sigma(self, t):
        return self.shift * t / (1 + (self.shift - 1) * t)

    def percent_to_sigma(self, percent):
        return float(self.sigma(min(1.0, max(0.0, 1 - percent))))


class ModelSamplingFlux(Table):
    """FLUX: the same curve, with the logarithm of the shift."""

    def __init__(self, shift=1.15):
        self.shift = shift
        self.sigmas = self.sigma(torch.arange(1, 10001) / 10000)

    def sigma(self, t):
        return math.exp(self.shift) / (math.exp(self.shift) + (1 / t - 1))

    def percent_to_sigma(self, percent):
        return float(self.sigma(min(1.0, 1 - percent))) if percent < 1 else 0.0


class Model:
    """A denoiser as a network of the kind that `model_sampling` is made for."""

    def __init__(self, denoiser, model_sampling):
        self.denoiser, self.model_sampling = denoiser, model_sampling
        self.latent_format = LatentFormat()
        self.told = []

    def apply_model(self, x, sigma):
        assert sigma.shape == (len(x),)
        self.told.append(sigma)
        output = (x - self.denoiser(x, sigma)) / per_row(sigma, x)
        return self.model_sampling.calculate_denoised(sigma, output, x)

    def scale_latent_inpaint(self, sigma, noise, latent_image, x, denoise_mask):
        return self.model_sampling.noise_scaling(sigma, noise, latent_image)


class Guider:
    """What ComfyUI calls with (x, sigma): the model with its conditions, and how they combine."""

    def __init__(self, model, negative=None, cfg=1.0):
        self.inner_model, self.negative, self.cfg = model, negative, cfg

    def __call__(self, x, timestep, model_options=None, seed=None):
        assert model_options is not None
        assert seed is not None
        cond = self.inner_model.apply_model(x, timestep)
        alone = self.cfg == 1 and not model_options.get("disable_cfg1_optimization", False)
        conditions = None if alone or self.negative is None else "negative"
        uncond = torch.zeros_like(x)
        if conditions is not None:
            uncond = self.negative.apply_model(x, timestep)
        x0 = uncond + (cond - uncond) * self.cfg
        for listener in model_options.get("sampler_post_cfg_function", []):
            x0 = listener({"denoised": x0, "uncond": conditions, "uncond_denoised": uncond})
        return x0

    def sample(self, noise, latent_image, sampler, sigmas, denoise_mask=None, callback=None):
        if len(sigmas) == 0:
            return latent_image
        extra_args = {"model_options": {"transformer_options": {}}, "seed": 41}
        return sampler.sample(
            self, sigmas, extra_args, callback, noise, latent_image, denoise_mask, True
        )


class LatentFormat:
    """Latents as the model sees them, and as the rest of ComfyUI does."""

    scale_factor = 0.5

    def process_in(self, latent):
        return latent * self.scale_factor


class NestedTensor:
    """Latents of several parts, in the few things that samplers meet."""

    is_nested = True

    def __init__(self, tensors):
        self.tensors = list(tensors)

    def unbind(self):
        return self.tensors

    def __mul__(self, factor):
        return NestedTensor([part * factor for part in self.tensors])


class Patcher:
    """What nodes get as MODEL."""

    def __init__(self, model):
        self.model = model

    def get_model_object(self, name):
        return getattr(self.model, name)


class KSamplerX0Inpaint:
    """The model that a sampler function gets: it keeps what the mask does not free."""

    def __init__(self, model, sigmas):
        self.inner_model, self.sigmas = model, sigmas

    def __call__(self, x, sigma, denoise_mask, model_options=None, seed=None):
        if denoise_mask is None:
            return self.inner_model(x, sigma, model_options=model_options, seed=seed)
        kept = self.inner_model.inner_model.scale_latent_inpaint(
            x=x,
            sigma=sigma,
            noise=self.noise,
            latent_image=self.latent_image,
            denoise_mask=denoise_mask,
        )
        x = torch.lerp(kept, x, denoise_mask)
        x0 = self.inner_model(x, sigma, model_options=model_options, seed=seed)
        return torch.lerp(self.latent_image, x0, denoise_mask)


class KSAMPLER:
    """The object of type SAMPLER around a sampler function."""

    def __init__(self, sampler_function, extra_options=None, inpaint_options=None):
        self.sampler_function = sampler_function
        self.extra_options = extra_options or {}
        self.inpaint_options = inpaint_options or {}

    def max_denoise(self, model_wrap, sigmas):
        top, sigma = float(model_wrap.inner_model.model_sampling.sigma_max), float(sigmas[0])
        return math.isclose(top, sigma, rel_tol=1e-5) or sigma > top

    def sample(
        self,
        model_wrap,
        sigmas,
        extra_args,
        callback,
        noise,
        latent_image=None,
        denoise_mask=None,
        disable_pbar=False,
    ):
        extra_args["denoise_mask"] = denoise_mask
        model = KSamplerX0Inpaint(model_wrap, sigmas)
        model.latent_image, model.noise = latent_image, noise
        kind = model_wrap.inner_model.model_sampling
        whole = self.max_denoise(model_wrap, sigmas)
        x = kind.noise_scaling(sigmas[0], noise, latent_image, whole)

        def tell(step):
            if callback is not None:
                callback(step["i"], step["denoised"], step["x"], len(sigmas) - 1)

        x = self.sampler_function(
            model,
            x,
            sigmas,
            extra_args=extra_args,
            callback=tell,
            disable=disable_pbar,
            **self.extra_options,
        )
        return kind.inverse_noise_scaling(sigmas[-1], x)


class SchedulerHandler(NamedTuple):
    """A function of (model_sampling, steps), or of (n, sigma_min, sigma_max)."""

    handler: object
    use_ms: bool = True


def module(name, **names):
    made = types.ModuleType(name)
    made.__dict__.update(names)
    return made


def sample_euler(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """ComfyUI's own euler, for the menus to have an entry."""
    for i in range(len(sigmas) - 1):
        x0 = model(x, sigmas[i].expand(len(x)), **(extra_args or {}))
        callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": x0})
        x = x0 + (x - x0) * (sigmas[i + 1] / sigmas[i])
    return x


def install(monkeypatch, schedulers=True):
    """Fresh modules under the names of ComfyUI's; without `schedulers` as in versions of 2024."""
    sampling = module("comfy.k_diffusion.sampling", sample_euler=sample_euler)
    k_diffusion = module("comfy.k_diffusion", sampling=sampling)
    names, grids = ["euler", "uni_pc_bh2"], ["simple"]
    kinds = module("comfy.model_sampling", EPS=EPS, CONST=CONST)
    menus = type("KSampler", (), {"SAMPLERS": names, "SCHEDULERS": grids})
    samplers = module(
        "comfy.samplers",
        KSAMPLER=KSAMPLER,
        KSampler=menus,
        SAMPLER_NAMES=names,
        SCHEDULER_NAMES=grids,
        k_diffusion_sampling=sampling,
    )
    if schedulers:
        samplers.SchedulerHandler = SchedulerHandler
        samplers.SCHEDULER_HANDLERS = {"simple": SchedulerHandler(None)}
    comfy = module("comfy", samplers=samplers, model_sampling=kinds, k_diffusion=k_diffusion)
    comfy.__path__ = []
    paths = module("folder_paths", get_input_directory=lambda: "input")
    for made in (comfy, samplers, kinds, k_diffusion, sampling, paths):
        monkeypatch.setitem(sys.modules, made.__name__, made)
    return comfy


def sampler_object(comfy, name):
    """The SAMPLER for an entry of the menu."""
    return KSAMPLER(getattr(comfy.k_diffusion.sampling, f"sample_{name}"))


def load(folder, monkeypatch):
    """Import a folder of custom_nodes: its path, without dots, is the name of the module."""
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    pack = importlib.util.module_from_spec(spec)
    for known in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, name, pack)
    spec.loader.exec_module(pack)
    for part in [m for m in sys.modules if m.startswith(f"{name}.")]:
        monkeypatch.setitem(sys.modules, part, sys.modules[part])
    return pack


# the nodes of ComfyUI that the workflows use: inputs by type, in the order of declaration; outputs
CORE_NODES = {
    "CheckpointLoaderSimple": ({"ckpt_name": "COMBO"}, ("MODEL", "CLIP", "VAE")),
    "CLIPTextEncode": ({"text": "STRING", "clip": "CLIP"}, ("CONDITIONING",)),
    "FluxGuidance": ({"conditioning": "CONDITIONING", "guidance": "FLOAT"}, ("CONDITIONING",)),
    "EmptyLatentImage": ({"width": "INT", "height": "INT", "batch_size": "INT"}, ("LATENT",)),
    "EmptySD3LatentImage": ({"width": "INT", "height": "INT", "batch_size": "INT"}, ("LATENT",)),
    "SamplerCustom": (
        {
            "model": "MODEL",
            "add_noise": "BOOLEAN",
            "noise_seed": "INT",
            "cfg": "FLOAT",
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
            "sampler": "SAMPLER",
            "sigmas": "SIGMAS",
            "latent_image": "LATENT",
        },
        ("LATENT", "LATENT"),
    ),
    "VAEDecode": ({"samples": "LATENT", "vae": "VAE"}, ("IMAGE",)),
    "SaveImage": ({"images": "IMAGE", "filename_prefix": "STRING"}, ()),
}
