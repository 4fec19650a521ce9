"""The network in the box: it loads, keeps the denoiser's contract, and its samples are digits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stiffguide.adapters.diffusion import digits, weights
from stiffguide.adapters.diffusion.digits import load_digits_denoiser
from stiffguide.adapters.diffusion.grid import karras
from stiffguide.adapters.diffusion.metrics import frechet_distance
from stiffguide.adapters.diffusion.sample import sample
from stiffguide.errors import InputError

pytest.importorskip("safetensors")


def noise(count: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randn(count, *(shape or (8, 8)), generator=random, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("model", digits.MODELS)
def test_the_weights_are_small(model: str) -> None:
    assert weights.find(f"{model}.safetensors", "").stat().st_size < 1.5e6
    denoiser = load_digits_denoiser(model=model)
    assert not any(p.requires_grad for p in denoiser.net.parameters())
    size = sum(p.numel() for p in denoiser.net.parameters())
    assert size == {"digits": 290_816, "digits_weak": 44_608}[model]


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shape_and_dtype_are_those_of_the_state(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    denoiser = load_digits_denoiser(3, dtype=dtype)
    for state in (torch.float32, torch.float64):
        x = noise(4, *shape, dtype=state)
        x0 = denoiser(x, torch.full((4,), 0.5))
        assert (x0.shape, x0.dtype) == (x.shape, state)
        exact = load_digits_denoiser(3, torch.float64)(x, torch.full((4,), 0.5))
        torch.testing.assert_close(x0, exact, rtol=0, atol=0.2 if dtype.itemsize == 2 else 1e-5)


def test_a_batch_equals_its_rows_with_a_class_for_each() -> None:
    classes = torch.tensor([0, 7, digits.NULL, 3])
    x, sigma = noise(4, dtype=torch.float64), torch.tensor([0.01, 0.3, 2.0, 60.0])
    together = load_digits_denoiser(classes, torch.float64)(x, sigma)
    for row, label in enumerate((0, 7, None, 3)):
        alone = load_digits_denoiser(label, torch.float64)
        torch.testing.assert_close(alone(x[row : row + 1], sigma[row : row + 1])[0], together[row])


def test_limits_of_the_preconditioning() -> None:
    denoiser = load_digits_denoiser(dtype=torch.float64)
    x = noise(3, dtype=torch.float64)
    torch.testing.assert_close(denoiser(x, torch.full((3,), 1e-8)), x, rtol=0, atol=1e-6)
    # at very high noise little but the mean of the data is left
    far = denoiser(80 * x, torch.full((3,), 80.0)) - denoiser.net.mean.reshape(8, 8)
    assert far.abs().mean() < 0.2


def drawn(model: str, classes: Tensor) -> Tensor:
    denoiser = load_digits_denoiser(classes, model=model)
    return sample(denoiser, noise(len(classes)), karras(24), method="dpmpp_2m").x


def test_samples_are_digits_of_the_class_that_was_asked_for() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    images, labels = digits.digits_data()
    nearest = neighbors.KNeighborsClassifier(3).fit(images.flatten(1).numpy(), labels.numpy())
    classes = torch.arange(10).repeat_interleave(30)
    x = drawn("digits", classes)
    assert x.abs().max() < 2.5
    right = nearest.predict(x.flatten(1).numpy()) == classes.numpy()
    assert right.mean() > 0.9
    assert all(right[classes.numpy() == digit].mean() > 0.6 for digit in range(10))


def test_samples_are_distributed_as_the_data_and_the_weak_model_is_weaker() -> None:
    pytest.importorskip("sklearn")
    images, _ = digits.digits_data()
    classes = torch.arange(600) % 10
    strong, weak = (frechet_distance(images, drawn(m, classes)) for m in digits.MODELS)
    blurred = frechet_distance(images, images + 0.5 * noise(len(images)))
    assert strong < 0.8 * weak
    assert strong < 0.05 * blurred


def test_classes_matter_and_can_be_rebound() -> None:
    x, sigma = noise(2), torch.full((2,), 3.0)
    denoiser = load_digits_denoiser(1)
    free = denoiser.of_class(None)
    assert not torch.allclose(denoiser(x, sigma), free(x, sigma))
    torch.testing.assert_close(free(x, sigma), load_digits_denoiser()(x, sigma))


@pytest.mark.parametrize("classes", [-1, 11, 2.5, torch.tensor([[1]]), torch.tensor([3, 12])])
def test_unknown_classes_are_refused(classes: object) -> None:
    with pytest.raises(InputError, match="a digit 0"):
        load_digits_denoiser(classes)  # type: ignore[arg-type]


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="digits_weak"):
        load_digits_denoiser(model="cifar")
    with pytest.raises(InputError, match="8, 8"):
        load_digits_denoiser()(torch.zeros(2, 28, 28), torch.ones(2))
    with pytest.raises(InputError, match="3 classes"):
        load_digits_denoiser(torch.tensor([1, 2, 3]))(noise(2), torch.ones(2))


def test_without_safetensors_the_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    with pytest.raises(InputError, match=r"stiffguide\[digits\]"):
        load_digits_denoiser()
