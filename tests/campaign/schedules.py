"""Random noise schedules, grids, samplers and schedulers, on Gaussian data whose flow is known.

x(sigma) = mean + sqrt((C + sigma^2)/(C + sigma_0^2)) (x(sigma_0) - mean) for data N(mean, C), one C
for each number. Ways to the same run have to agree: `sample`, the functions of k-diffusion, the
schedulers of diffusers, a network of any prediction on any schedule. What is not done is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from schedulers import BETAS, PREDICTIONS, SPACINGS, drive, net, start, unit_noise
from test_diffusers_heun import denoiser as of_heun
from test_diffusers_multistep import denoiser as of_multistep
from test_diffusers_multistep import in_ve
from torch import Tensor

from campaign.cases import Refused, Wrong, check_sentence, refusal
from campaign.choices import Choices
from stiffguide.adapters.diffusers import (
    StiffguideFlowMatchHeunScheduler,
    StiffguideHeunScheduler,
    StiffguideMultistepScheduler,
)
from stiffguide.adapters.diffusion import (
    SAMPLERS,
    VE,
    DDPMTable,
    Emg,
    RectifiedFlow,
    VPCosine,
    VPLinear,
    VPScaledLinear,
    as_denoiser,
    as_network,
    grid,
    invert,
    sample,
    sample_adaptive,
)
from stiffguide.adapters.kdiffusion import NOISY_SAMPLERS
from stiffguide.adapters.kdiffusion import SAMPLERS as THEIRS
from stiffguide.errors import StiffguideError

F64 = torch.float64
BAD = [0.0, -1.0, math.nan, math.inf, "x", None, True]


class Gaussian:
    """The denoiser of N(mean, C) (F,), and its flow."""

    def __init__(self, mean: Tensor, c: Tensor) -> None:
        self.mean, self.c = mean, c

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        noise = sigma.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)) ** 2
        return self.mean + self.c / (self.c + noise) * (x - self.mean)

    def flow(self, x: Tensor, high: float, low: float) -> Tensor:
        """From one level to another."""
        return self.mean + torch.sqrt((self.c + low**2) / (self.c + high**2)) * (x - self.mean)


def said(make: Callable[[], Any]) -> Any:
    """What is made, or `Refused`."""
    try:
        return make()
    except StiffguideError as error:
        raise refusal(error) from error


def near(found: Tensor, due: Tensor, rtol: float, what: str) -> None:
    """Raise `Wrong` unless two agree in units of the largest number."""
    if found.shape != due.shape:
        raise Wrong("wrong", f"{what}: shape {tuple(found.shape)}, not {tuple(due.shape)}")
    size = 1e-300 + float(due.abs().max())
    off = float((found.double() - due.double()).abs().nan_to_num(math.inf).max())
    if not off <= rtol * size:
        raise Wrong("wrong", f"{what}: {off / size:.3g} off, {rtol:.3g} is allowed")


def case(dice: Choices) -> None:
    """One of six questions."""
    kinds = [path, levels, gaussian, noisy, scheduler, adaptive]
    dice.choice(kinds)(dice)


def schedule(dice: Choices) -> tuple[Any, str]:
    """A schedule and its text."""
    kind = dice.below(5)
    low = dice.power(-3, 1)
    high = low * (1 + dice.power(-3, 3)) if not dice.chance(0.1) else low * 0.5
    texts = (
        f"VPLinear({low}, {high})",
        f"VPScaledLinear({low}, {high})",
        f"VPCosine({dice.power(-4, -0.5)})",
        f"RectifiedFlow({dice.power(-1, 1.5) if not dice.chance(0.1) else -1.0})",
        "VE()",
    )
    dice.say("from stiffguide.adapters.diffusion import *\n")
    dice.say(f"schedule = {texts[kind]}")
    space = {"VPLinear": VPLinear, "VPScaledLinear": VPScaledLinear, "VPCosine": VPCosine,
             "RectifiedFlow": RectifiedFlow, "VE": VE}  # fmt: skip
    return said(lambda: eval(texts[kind], space)), texts[kind]


def path(dice: Choices) -> None:
    """Alpha, sigma, their derivatives, the level and its time belong together."""
    found, text = schedule(dice)
    top = 0.999 if found.t_max <= 1 else 80.0
    t = torch.tensor([dice.uniform(1e-4, top) for _ in range(4)], dtype=F64).sort().values
    dice.say(f"t = torch.tensor({t.tolist()}, dtype=torch.float64)")
    dice.say("print(schedule.time(schedule.level(t)))")
    level = found.level(t)
    usable = level < 1e6  # beyond, alpha is next to nothing
    near(found.time(level)[usable], t[usable], 1e-9, f"{text}: time(level(t))")
    if (t.diff() > 1e-9).all() and not (level.diff() > 0).all():
        raise Wrong("wrong", f"{text}: the level does not rise at {t.tolist()}")
    h = 1e-6 * t
    for name in ("alpha", "sigma"):
        of, slope = getattr(found, name), getattr(found, f"d_{name}")
        due = (of(t + h) - of(t - h)) / (2 * h)
        off = (slope(t) - due).abs() / (slope(t).abs() + of(t).abs() / t * 1e-3 + 1e-9)
        if not (off < 1e-3).all():
            raise Wrong("wrong", f"{text}: d_{name} is {slope(t).tolist()}, not {due.tolist()}")
    x = torch.tensor([[dice.uniform(-2, 2), 0.7]], dtype=F64)
    near(found.from_ve(found.to_ve(x, t[0]), t[0]), x, 1e-12, f"{text}: to_ve and back")


def spread(dice: Choices, sane: bool = False) -> tuple[Tensor, str]:
    """Levels by a grid, and its text."""
    n = dice.randint(1, 40)
    low, ratio = dice.power(-3, 0), dice.power(0.3, 4)
    words: dict[str, Any] = {"sigma_min": low, "sigma_max": float(f"{low * ratio:.4g}")}
    name = dice.choice(["karras", "exponential", "linear", "quadratic", "mix", "log_snr"])
    if dice.chance(0.5):
        words["zero"] = True
    if name == "karras" and dice.chance(0.5):
        words["rho"] = dice.power(-0.5, 1.3)
    if name == "mix":
        words |= (
            {"center": dice.power(-2, 2)} if dice.chance(0.5) else {"sigma_data": dice.power(-2, 2)}
        )
    given: Any = n
    if not sane and dice.chance(0.25):
        key = dice.choice(["n", *words])
        if key == "n":
            given = dice.choice([0, -3, 2.5, "x", None, True])
        else:
            words[key] = dice.choice(BAD)
    text = f"grid.{name}({given!r}, {', '.join(f'{k}={v!r}' for k, v in words.items())})"
    dice.say(f"levels = {text}")
    return said(lambda: getattr(grid, name)(given, **words)), text


def levels(dice: Choices) -> None:
    """A grid has as many intervals as asked for, falls, and ends where it should."""
    dice.say("from stiffguide.adapters.diffusion import grid\n")
    if dice.chance(0.3):
        path_of, text = schedule(dice)
        n, power = dice.randint(1, 40), dice.power(-0.5, 1)
        dice.say(f"levels = grid.scheduled({n}, schedule, power={power})")
        found = said(lambda: grid.scheduled(n, path_of, power=power))
        low, high = path_of.range()
        ends = (high, low) if n > 0 else ()
        text = f"scheduled of {text}"
    else:
        found, text = spread(dice)
        n, ends = len(found) - 1, ()
    if found.dtype != F64 or len(found) != n + 1 or not bool((found.diff() < 0).all()):
        raise Wrong("wrong", f"{text}: {found.tolist()} does not fall")
    if not bool(torch.isfinite(found).all()) or float(found[-1]) < 0:
        raise Wrong("wrong", f"{text}: {found.tolist()}")
    if ends:
        near(found[[0, -1]], torch.tensor(ends, dtype=F64), 1e-12, f"{text}: its ends")
    if len(found) > 2:
        size, seed = dice.power(-3, 1), dice.below(100)
        moved = said(lambda: grid.moved(found, size, seed))
        if not bool((moved.diff() < 0).all()) or moved[0] != found[0] or moved[-1] != found[-1]:
            raise Wrong("wrong", f"{text}: moved by {size} it is {moved.tolist()}")


def problem(dice: Choices) -> tuple[Gaussian, Tensor]:
    """Data of some numbers, and unit noise of some rows."""
    f, rows = dice.randint(1, 4), dice.randint(1, 3)
    mean = torch.tensor([dice.uniform(-2, 2) for _ in range(f)], dtype=F64)
    c = torch.tensor([dice.power(-2, 1) for _ in range(f)], dtype=F64)
    noise = torch.tensor([[dice.uniform(-2, 2) for _ in range(f)] for _ in range(rows)], dtype=F64)
    dice.say("from campaign.schedules import Gaussian\n")
    dice.say(f"model = Gaussian(torch.tensor({mean.tolist()}), torch.tensor({c.tolist()}))")
    dice.say(f"noise = torch.tensor({noise.tolist()}, dtype=torch.float64)")
    return Gaussian(mean, c), noise


def gaussian(dice: Choices) -> None:
    """Every way to a run gives the same, and many steps come near to the flow."""
    model, noise = problem(dice)
    given, text = spread(dice, sane=True)
    method = dice.choice([*SAMPLERS])
    dice.say(f"print(sample(model, noise, levels, {method!r}).x)")
    found = said(lambda: sample(model, noise, given, method)).x
    if not bool(torch.isfinite(found).all()):
        raise Wrong("wrong", f"{method} on {text}: {found.tolist()}")
    start_at = float(given[0]) * noise
    alone = said(lambda: sample(model, noise[:1], given, method)).x
    near(alone, found[:1], 1e-10, f"{method}: a row by itself")
    if f"stiffguide_{method}" in THEIRS.keys() - NOISY_SAMPLERS.keys():
        words: dict[str, Any] = {"guidance": None} if method == "heun" else {}
        theirs = THEIRS[f"stiffguide_{method}"](model, start_at, given, disable=True, **words)
        near(theirs, found, 1e-12, f"{method} by k-diffusion")
    by_network(dice, model, noise, given, method, found)
    fine = grid.karras(96, max(0.01, float(given[given > 0].min())), float(given[0]) + 0.02)
    due = model.flow(float(fine[0]) * noise, float(fine[0]), float(fine[-1]))
    got = said(lambda: sample(model, noise, fine, method)).x
    near(got, due, 0.1, f"{method} in 96 steps from {float(fine[0]):.4g}")
    if SAMPLERS[method].reversible and dice.chance(0.5):
        back = said(lambda: invert(model, got, fine.flip(0), method)).x
        near(back, float(fine[0]) * noise, 0.2, f"{method}: there and back")


def by_network(
    dice: Choices, model: Gaussian, noise: Tensor, given: Tensor, method: str, due: Tensor
) -> None:
    """The same of a network that is told times of a schedule."""
    prediction = dice.choice(["epsilon", "v_prediction", "sample", "flow", "velocity"])
    table = dice.choice([DDPMTable.linear, DDPMTable.scaled_linear, None])
    made = table() if table else said(lambda: schedule(dice))[0]
    dice.say(f"# as a network of {prediction!r}")
    try:
        network = as_network(model, prediction, made)
        again = as_denoiser(network, prediction, made)
        found = sample(again, noise, given, method).x
    except StiffguideError as error:
        check_sentence(str(error))
        return
    if not table and not isinstance(made, VE) and float(given[0]) > 1e3:
        return  # alpha is next to nothing there
    outside = table and not _within(made, given)
    if not outside:
        near(found, due, 1e-5, f"{method} by {prediction} of {type(made).__name__}")


def _within(table: DDPMTable, given: Tensor) -> bool:
    known = table.levels
    return float(given[0]) <= float(known[-1]) and float(given[given > 0].min()) >= float(known[0])


def noisy(dice: Choices) -> None:
    """Noise on the way hangs on the seed of a row alone."""
    model, noise = problem(dice)
    given, text = spread(dice, sane=True)
    method = dice.choice([*SAMPLERS])
    words: dict[str, Any] = {"seeds": [dice.below(1000) for _ in noise]}
    words["eta" if dice.chance(0.6) else "s_churn"] = dice.choice(
        [0.5, 1.0, 0.1, 3.0, -1.0, math.nan]
    )
    if dice.chance(0.3):
        words["s_noise"] = dice.choice([1.003, 0.0, 0.9])
    dice.say(f"print(sample(model, noise, levels, {method!r}, **{words}).x)")
    found = said(lambda: sample(model, noise, given, method, **words)).x
    if not bool(torch.isfinite(found).all()):
        raise Wrong("wrong", f"{method} on {text} with {words}: {found.tolist()}")
    again = said(lambda: sample(model, noise, given, method, **words)).x
    if not torch.equal(found, again):
        raise Wrong("wrong", f"{method} with {words}: the same call gives something else")
    last = {**words, "seeds": words["seeds"][-1:]}
    near(said(lambda: sample(model, noise[-1:], given, method, **last)).x, found[-1:], 1e-10,
         f"{method} with {words}: a row by itself")  # fmt: skip


def adaptive(dice: Choices) -> None:
    """By tolerance: near to the flow by some of them."""
    model, noise = problem(dice)
    low = dice.power(-3, -1)
    high = float(f"{low * dice.power(0.5, 4):.4g}")
    method = dice.choice(["bosh3", "tsit5", "dopri5", "heun_euler", "rk4", "rodas4"])
    rtol = dice.choice([1e-2, 1e-3, 1e-5])
    together = dice.chance(0.3)
    words = {"method": method, "rtol": rtol, "together": together}
    dice.say(f"print(sample_adaptive(model, noise, {low}, {high}, **{words}))")
    found = said(lambda: sample_adaptive(model, noise, low, high, **words))
    due = model.flow(high * noise, high, low)
    if not bool(torch.isfinite(found.x).all()):
        raise Wrong("wrong", f"sample_adaptive: {found.x.tolist()}")
    size = 1 + float(due.abs().max())
    off = float((found.x - due).abs().max())
    if off > 100 * rtol * size:
        raise Wrong("wrong", f"sample_adaptive: {off:.3g} off with rtol {rtol} and {words}")


def configuration(dice: Choices) -> dict[str, Any]:
    """Words that describe a model and a grid; now and then one that is wrong."""
    words: dict[str, Any] = {
        "num_train_timesteps": dice.choice([1000, 200, 50]),
        "beta_schedule": dice.choice([*BETAS[:3]]),
        "prediction_type": dice.choice([*PREDICTIONS]),
        "timestep_spacing": dice.choice([*SPACINGS]),
    }
    if dice.chance(0.4):
        low = dice.power(-5, -2.5)
        words |= {"beta_start": low, "beta_end": min(0.9, low * dice.power(0.1, 2))}
    if dice.chance(0.3):
        words["steps_offset"] = 1
    if dice.chance(0.5):
        words[dice.choice(["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])] = (
            True
        )
    if dice.chance(0.15):
        key = dice.choice([*words])
        words[key] = dice.choice([0, -1, 1.5, "x", None, math.nan])
    return words


def scheduler(dice: Choices) -> None:
    """Heun is that of diffusers, EMG that of `sample`; whatever the words."""
    words, n = configuration(dice), dice.choice([5, 1, 2, 9, 20])
    if dice.chance(0.2):
        flow(dice, n)
        return
    emg = dice.chance(0.5)
    if emg and dice.chance(0.4):
        words["sigma_grid"] = dice.choice(["karras", "mix", "linear", "quadratic", "beta"])
    if emg:
        words |= {"points": dice.choice([None, 2, 3])}
        words |= {"final_sigmas_type": dice.choice(["zero", "sigma_min"])}
    cls = StiffguideMultistepScheduler if emg else StiffguideHeunScheduler
    more = {} if emg else {"guidance": None}
    dice.say("from stiffguide.adapters.diffusers import *\n")
    dice.say(f"scheduler = {cls.__name__}(**{ ({**words, **more}) })\nscheduler.set_timesteps({n})")
    ours = said(lambda: cls(**words, **more))
    said(lambda: ours.set_timesteps(n))
    if not bool(torch.isfinite(ours.sigmas).all()):
        raise Wrong("wrong", f"sigmas are {ours.sigmas.tolist()}")
    if (ours.sigmas[:-1] <= 0).any():
        raise Wrong("wrong", f"a level before the last is {ours.sigmas.tolist()}")
    if emg:
        noise, last = in_ve(ours, unit_noise())
        denoise = of_multistep(ours, words["prediction_type"])
        due = said(lambda: sample(denoise, noise, ours.sigmas, Emg(words["points"]))).x / last
        near(said(lambda: drive(ours, unit_noise())), due, 1e-9, "EMG and `sample`")
        return
    x = start(ours, unit_noise())
    found = said(lambda: drive(ours, x))
    due = said(lambda: sample(of_heun(ours, words["prediction_type"]), x / float(ours.sigmas[0]),
                              nodes(ours), "heun")).x  # fmt: skip
    near(found, due, 1e-9, "Heun and `sample`")
    try:
        theirs = diffusers.HeunDiscreteScheduler(**words)
        theirs.set_timesteps(n)
    except Exception:  # whatever it says of words that ours takes
        return
    theirs.sigmas = theirs.sigmas.double()
    if torch.isfinite(theirs.sigmas).all() and len(theirs.sigmas) == len(ours.sigmas):
        near(found, drive(theirs, x), 1e-4, "Heun and that of diffusers")


def nodes(ours: Any) -> list[float]:
    """The levels of its steps, each once."""
    found: list[float] = []
    for level in ours.sigmas.tolist():
        if not found or level != found[-1]:
            found.append(level)
    return found


def flow(dice: Choices, n: int) -> None:
    """The scheduler of flow matching beside that of diffusers."""
    words: dict[str, Any] = {"shift": dice.choice([1.0, 3.0, 0.5, 12.0, 0.0, -1.0, "x"])}
    words["num_train_timesteps"] = dice.choice([1000, 100])
    dice.say("from stiffguide.adapters.diffusers import *\n")
    dice.say(f"scheduler = StiffguideFlowMatchHeunScheduler(guidance=None, **{words})")
    dice.say(f"scheduler.set_timesteps({n})")
    ours = said(lambda: StiffguideFlowMatchHeunScheduler(guidance=None, **words))
    said(lambda: ours.set_timesteps(n))
    theirs = diffusers.FlowMatchHeunDiscreteScheduler(**words)
    theirs.set_timesteps(n)
    noise = unit_noise()
    found = said(lambda: drive(ours, noise, lambda x, t: net(x, t)))
    theirs.sigmas = theirs.sigmas.double()
    near(found, drive(theirs, noise), 1e-4, "the flow and that of diffusers")


__all__ = ["Gaussian", "Refused", "case"]
