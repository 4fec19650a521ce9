"""Scores by torchmetrics equal the formulas, with stand-ins for Inception and CLIP."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stiffguide.adapters.diffusion.image_scores import clip_score, fid, inception_score
from stiffguide.adapters.diffusion.metrics import frechet_distance
from stiffguide.errors import InputError


def images(count: int, seed: int = 0, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(seed))


class Quarters(nn.Module):
    """Features: the mean of each quarter and channel."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x.double(), 2).flatten(1)


class Told(nn.Module):
    """Logits that are written into the first pixels of an image."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0, 0, :5].double()


@pytest.mark.parametrize(("channels", "batch"), [(3, 16), (1, 1000)])
def test_fid_is_the_frechet_distance_of_the_features(channels: int, batch: int) -> None:
    real, made = images(70, 0, channels), images(50, 1, channels).square()
    found = fid(real, made, Quarters(), batch)
    assert found == pytest.approx(frechet_distance(Quarters()(real), Quarters()(made)), rel=1e-6)


def by_hand(logits: Tensor) -> float:
    p = logits.softmax(-1)
    return float((p * (p / p.mean(0)).log()).sum(-1).mean().exp())


def test_inception_score_is_the_formula_whatever_the_batches() -> None:
    x = 6 * images(60)
    found = inception_score(x, Told(), splits=1, batch=7)
    assert found.mean == pytest.approx(by_hand(Told()(x)), rel=1e-9)
    assert math.isnan(found.deviation)


def test_inception_score_lies_between_one_and_the_number_of_classes() -> None:
    sure = torch.zeros(50, 1, 1, 5)
    sure[torch.arange(50), 0, 0, torch.arange(50) % 5] = 100.0
    assert inception_score(sure, Told(), splits=1).mean == pytest.approx(5.0)
    assert inception_score(0 * sure, Told()) == pytest.approx((1.0, 0.0))
    assert inception_score(sure[::5], Told(), splits=1).mean == pytest.approx(1.0)


def test_splits_are_drawn_by_the_seed_and_leave_other_random_numbers_alone() -> None:
    x = 6 * images(40)
    one = inception_score(x, Told(), splits=4)
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    assert inception_score(x, Told(), splits=4) == one
    assert inception_score(x, Told(), splits=4, seed=1) != one
    assert torch.equal(torch.rand(1), before)
    assert one.deviation > 0


class Processor:
    """Stands for CLIP's: images as they are, and a token for every letter."""

    def __call__(self, images: Any = None, text: Any = None, **options: Any) -> dict[str, Tensor]:
        if images is not None:
            return {"pixel_values": torch.stack(images).float() / 255}
        length = max(map(len, text))
        tokens = [[ord(c) % 90 + 1 for c in words] + [0] * (length - len(words)) for words in text]
        found = torch.tensor(tokens)
        return {"input_ids": found, "attention_mask": (found > 0).long()}


class Plain(nn.Module):
    """A model with embeddings that are tensors: means of channels, and of tokens."""

    def get_image_features(self, pixels: Tensor) -> Tensor:
        return pixels.mean((-1, -2))

    def get_text_features(self, tokens: Tensor, attention: Tensor) -> Tensor:
        total = attention.sum(-1)
        return torch.stack((total, (tokens * attention).sum(-1) / 50, 0 * total), -1).float()


CAPTIONS = ["a seven", "one", "a rather long nine", "zero", "five!"]


def cosine(model: Any, x: Tensor) -> float:
    made, process = [], Processor()
    for image, words in zip(x, CAPTIONS, strict=True):
        pixels, text = process(images=[image]), process(text=[words])
        pair = (
            model.get_image_features(pixels["pixel_values"]),
            model.get_text_features(text["input_ids"], text["attention_mask"]),
        )
        one, two = (v if isinstance(v, Tensor) else v.pooler_output for v in pair)
        made.append(nn.functional.cosine_similarity(one, two).item())
    return 100 * sum(made) / len(made)


def small_clip() -> Any:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    tiny |= {"num_attention_heads": 2, "projection_dim": 8}
    text = tiny | {"vocab_size": 100, "max_position_embeddings": 24, "eos_token_id": 99}
    vision = tiny | {"image_size": 8, "patch_size": 4}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()


@pytest.mark.parametrize("make", [Plain, small_clip])
@torch.no_grad()
def test_clip_score_is_the_cosine_of_the_embeddings(make: Any) -> None:
    x = (255 * images(5)).byte()
    model = make()
    expected = max(cosine(model, x), 0.0)
    # padded captions are seen by nobody: the tokens after them are masked
    for batch in (1, 2, 5):
        found = clip_score(x, CAPTIONS, model, Processor(), batch)
        assert found == pytest.approx(expected, rel=1e-3, abs=0.01)


def test_a_score_does_not_fall_below_nothing() -> None:
    model = Plain()
    model.get_text_features = lambda tokens, attention: -torch.ones(len(tokens), 3)
    assert clip_score((255 * images(5)).byte(), CAPTIONS, model, Processor()) == 0.0


SCORES = {
    "image.fid": lambda: fid(images(2), images(2), Quarters()),
    "image.inception": lambda: inception_score(images(2), Told(), splits=1),
    "multimodal.clip_score": lambda: clip_score(images(1), ["one"], Plain(), Processor()),
}


@pytest.mark.parametrize("name", SCORES)
def test_without_torchmetrics_the_sentence_names_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"torchmetrics.{name}", None)
    with pytest.raises(InputError, match=r"pip install 'stiffguide\[metrics\]'"):
        SCORES[name]()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="torch module, not int: none is downloaded"):
        fid(images(2), images(2), 2048)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\(N, C, H, W\)"):
        fid(images(2), images(2)[0], Quarters())
    with pytest.raises(InputError, match=r"tensor \(n, D\)"):
        fid(images(2), images(2), nn.Identity())
    with pytest.raises(InputError, match="1 to the number of images, 4"):
        inception_score(images(4), Told(), splits=5)
    with pytest.raises(InputError, match="a caption each"):
        clip_score(images(4), ["one"], SimpleNamespace(), Processor())
