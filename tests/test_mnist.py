"""The networks of MNIST digits: their contract, and that the weights are trained."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import load
from torch import Tensor

from stiffguide.adapters.diffusion import grid, mnist, weights
from stiffguide.adapters.diffusion.class_denoiser import ClassDenoiser
from stiffguide.adapters.diffusion.metrics import frechet_distance
from stiffguide.adapters.diffusion.mnist import (
    load_mnist_classifier,
    load_mnist_denoiser,
    mnist_data,
)
from stiffguide.adapters.diffusion.sample import sample
from stiffguide.adapters.diffusion.unet import UNet
from stiffguide.errors import InputError

# what is left of noise of this sigma, root mean square of D - x0 over pixels: 5 % above what it is
LEFT = {0.1: 0.036, 0.3: 0.082, 1.0: 0.182, 3.0: 0.361}


def noise(count: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *(shape or (1, 28, 28)), generator=random, dtype=torch.float64)
    return x.to(dtype)


@pytest.fixture(scope="module")
def exact() -> ClassDenoiser:
    return load_mnist_denoiser(dtype=torch.float64)


def test_the_files_are_small() -> None:
    sizes = {"mnist": 2e6, "mnist_classifier": 2e5}
    for name, most in sizes.items():
        assert weights.find(f"{name}.safetensors", "").stat().st_size < most
    assert weights.find("mnist.npz", "").stat().st_size < 2e6
    assert 0.8e6 < sum(p.numel() for p in load_mnist_denoiser().net.parameters()) < 1e6


@pytest.mark.parametrize("shape", [(784,), (28, 28), (1, 28, 28)])
def test_shape_and_dtype_are_those_of_the_state(
    shape: tuple[int, ...], exact: ClassDenoiser
) -> None:
    sigma = torch.tensor([0.01, 0.5, 20.0])
    for dtype in (torch.float32, torch.float64):
        x = noise(3, *shape, dtype=dtype)
        x0 = load_mnist_denoiser()(x, sigma)
        assert (x0.shape, x0.dtype) == (x.shape, dtype)
        torch.testing.assert_close(x0.double(), exact(x.double(), sigma), rtol=0, atol=1e-4)


@settings(deadline=None, max_examples=15)
@given(
    levels=st.lists(st.floats(-4.6, 4.4), min_size=2, max_size=3),
    classes=st.lists(st.integers(0, 10), min_size=3, max_size=3),
    seed=st.integers(0, 99),
)
def test_a_batch_equals_its_rows(levels: list[float], classes: list[int], seed: int) -> None:
    net = load_mnist_denoiser(dtype=torch.float64).net
    sigma = torch.tensor(levels, dtype=torch.float64).exp()
    x = noise(len(levels), seed=seed) * (1 + sigma).reshape(-1, 1, 1, 1)
    together = ClassDenoiser(net, torch.tensor(classes[: len(levels)]))(x, sigma)
    for row, label in zip(range(len(levels)), classes, strict=False):
        alone = ClassDenoiser(net, label)(x[row : row + 1], sigma[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-9)


def test_limits_of_the_preconditioning(exact: ClassDenoiser) -> None:
    x = noise(3)
    torch.testing.assert_close(exact(x, torch.full((3,), 1e-8)), x, rtol=0, atol=1e-6)
    torch.testing.assert_close(exact(x, torch.zeros(3)), x, rtol=0, atol=1e-14)
    # where noise is all there is, the mean of the data is left, whatever the network says
    untrained = ClassDenoiser(UNet((8, 8, 8), 8).double())
    untrained.net.mean.copy_(exact.net.mean)
    far = untrained(1e9 * x, torch.full((3,), 1e9))
    mean = exact.net.mean.expand(3, 1, 28, 28)
    assert (far - mean).abs().max() < 1  # c_out F, with an F that is small at the start
    near = exact(80 * x, torch.full((3,), 80.0)) - mean
    assert near.square().mean().sqrt() < 0.15


def test_an_untrained_network_is_the_skip_alone() -> None:
    """D = mean + c_skip (x - mean), the best linear guess for numbers of deviation 0.5."""
    denoiser = ClassDenoiser(UNet((8, 8, 8), 8).double())
    torch.nn.init.zeros_(denoiser.net.leave.bias)
    sigma = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    x = noise(3)
    kept = 0.25 / (0.25 + sigma.square())
    torch.testing.assert_close(denoiser(x, sigma), kept.reshape(-1, 1, 1, 1) * x)


def test_no_class_is_the_null_class_and_classes_matter(exact: ClassDenoiser) -> None:
    x, sigma = 3 * noise(2), torch.full((2,), 3.0)
    free = exact.of_class(None)(x, sigma)
    torch.testing.assert_close(free, exact.of_class(mnist.NULL)(x, sigma), rtol=0, atol=0)
    found = [exact.of_class(k)(x, sigma) for k in range(10)]
    assert all((a - b).abs().max() > 0.1 for i, a in enumerate(found) for b in found[:i])
    assert all((a - free).abs().max() > 0.05 for a in found)


@pytest.mark.parametrize("sigma", LEFT)
def test_held_out_digits_are_denoised(sigma: float) -> None:
    images, labels = (part[:200] for part in mnist_data("held out"))
    denoised = load_mnist_denoiser(labels)(
        images + sigma * noise(200, dtype=torch.float32), torch.full((200,), sigma)
    )
    error = float((denoised - images).square().mean().sqrt())
    assert error < LEFT[sigma]
    # and as well as those that it was trained on, nearly: it has not learned them by heart
    images, labels = (part[:200] for part in mnist_data("training"))
    denoised = load_mnist_denoiser(labels)(
        images + sigma * noise(200, dtype=torch.float32), torch.full((200,), sigma)
    )
    known = float((denoised - images).square().mean().sqrt())
    assert 0.9 < error / known < 1.1


def test_samples_are_digits_of_their_class_and_like_the_data() -> None:
    net = load_mnist_classifier()
    classes = torch.arange(60) % 10
    levels = grid.karras(12)
    x = sample(load_mnist_denoiser(classes), noise(60, dtype=torch.float32), levels, "emg").x
    assert x.abs().max() < 1.6
    assert float((net(x).argmax(-1) == classes).float().mean()) > 0.9
    images, labels = mnist_data("held out")
    like = torch.stack([images[labels == k % 10][k // 10] for k in range(60)])
    data = net.features(images)
    found, real = (frechet_distance(net.features(v), data) for v in (x, like))
    blurred = frechet_distance(net.features(like + 0.5 * noise(60, dtype=torch.float32)), data)
    assert found < real + 0.2 * (blurred - real)


def test_the_classifier_knows_digits_that_it_has_not_seen() -> None:
    images, labels = mnist_data("held out")
    net = load_mnist_classifier()
    right = (net(images).argmax(-1) == labels).float().mean()
    assert float(right) > 0.97
    assert net.features(images[:5]).shape == (5, mnist.FEATURES)


def test_the_digits_are_bytes_between_paper_and_ink() -> None:
    seen = []
    for part, count in (("training", 8000), ("held out", 2000)):
        images, labels = mnist_data(part)
        assert images.shape == (count, 1, 28, 28)
        assert (float(images.min()), float(images.max())) == (-1.0, 1.0)
        torch.testing.assert_close((images + 1) * 127.5, ((images + 1) * 127.5).round())
        assert set(labels.tolist()) == set(range(10))
        seen += [image.numpy().tobytes() for image in images]
    assert len(set(seen)) == 10_000  # nothing held out was trained on
    images, _ = mnist_data()
    assert grid.principal_deviation(images[:500]) == pytest.approx(4.5, abs=0.5)


def test_the_digits_are_packed_as_they_are(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels = {d: random.integers(0, 256, (d + 1, 28, 28)) for d in range(10)}
    for d, values in pixels.items():
        text = json.dumps({"data": (values / 255).round(3).reshape(-1).tolist()})
        (tmp_path / f"{d}.json").write_text(text)
    assert load("mnist_data").pack(tmp_path, tmp_path / "all.npz") == 55
    with np.load(tmp_path / "all.npz") as archive:
        images, labels = archive["images"], archive["labels"]
    for d, values in pixels.items():
        found = {image.tobytes() for image in images[labels == d]}
        assert found == {image.tobytes() for image in values.astype(np.uint8)}


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"images are \(B, 1, 28, 28\), not \(2, 8, 8\)"):
        load_mnist_denoiser()(torch.zeros(2, 8, 8), torch.ones(2))
    with pytest.raises(InputError, match=r"a digit 0 \.\.\. 9"):
        load_mnist_denoiser(11)
    with pytest.raises(InputError, match="'training', 'held out', not 'test'"):
        mnist_data("test")
    for loader in (load_mnist_denoiser, load_mnist_classifier):
        with pytest.raises(InputError, match=r"examples/train_mnist\.py"):
            loader(path=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"examples/mnist_data\.py"):
        mnist_data(path=tmp_path / "nowhere")


def test_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Two steps at once, and one step, a stop, and another: the same network."""
    script = load("train_mnist")
    images, labels = (part[:20] for part in mnist_data())
    whole, first, second = (script.Training(script.TINY, 0, images) for _ in range(3))
    expected = [whole.step(images, labels) for _ in range(2)]
    assert first.step(images, labels) == expected[0]
    first.save(tmp_path / "a.checkpoint")
    second.load(tmp_path / "a.checkpoint")
    assert second.done == 1
    assert second.step(images, labels) == expected[1]
    for name, value in whole.kept.state_dict().items():
        torch.testing.assert_close(value, second.kept.state_dict()[name], rtol=0, atol=0)
    other = script.Training(script.replace(script.TINY, rate=1.0), 0, images)
    with pytest.raises(SystemExit, match="another recipe"):
        other.load(tmp_path / "a.checkpoint")


def test_the_script_trains_and_its_files_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train_mnist.py", "--tiny", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    load("train_mnist").main()
    assert "held-out digits" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {
        "mnist.safetensors",
        "mnist_classifier.safetensors",
    }
    denoiser = load_mnist_denoiser(path=tmp_path / "mnist.safetensors")
    mean = mnist_data()[0].mean(0)
    torch.testing.assert_close(denoiser.net.mean, mean, rtol=0, atol=1e-3)  # float16
    assert denoiser(noise(2), torch.ones(2)).isfinite().all()
    load_mnist_classifier(path=tmp_path / "mnist_classifier.safetensors")
