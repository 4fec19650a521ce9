"""What watches a running solve: a progress bar, a monitor that may stop it, a log of long ones."""

from __future__ import annotations

import logging
from time import monotonic
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from stiffguide.caveats import Witness
from stiffguide.errors import InputError, Status
from stiffguide.fields.layout import Layout
from stiffguide.inputs import Monitor
from stiffguide.stepping.live import Live

LOG = logging.getLogger("stiffguide")
LONG = 10.0  # seconds, after which a solve says how it stands
AGAIN = 60.0  # seconds between that and the next time


def bars() -> Any:
    """The class of progress bars; raises InputError where there is none."""
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise InputError("progress=True needs tqdm: pip install 'stiffguide[cli]'") from error
    return tqdm


class Progress:
    """A context for a solve; `look` is called after every attempt."""

    def __init__(
        self,
        show: bool,
        monitor: Monitor | None,
        layout: Layout,
        t0: Tensor,
        t1: Tensor,
        *,
        witness: Witness,
    ) -> None:
        self.witness = witness
        self._monitor = monitor
        self._layout = layout
        self._t0, self._span = t0, torch.where(t1 == t0, 1.0, t1 - t0)
        self._since = monotonic()
        self._due = self._since + LONG
        self._bar: Any = None
        self._new_bar: Any = None
        if show:
            self._new_bar = bars()

    def __enter__(self) -> Progress:
        if self._new_bar is not None:
            form = "{percentage:5.1f}% |{bar}| {elapsed}"
            self._bar = self._new_bar(total=1.0, unit="t", bar_format=form)
        return self

    @property
    def monitored(self) -> bool:
        """Whether somebody is to see every attempt, each once."""
        return self._monitor is not None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def look(self, s: Live) -> Tensor | None:
        """Show the slowest row's way, ask the monitor: rows (B,) to stop, or None."""
        self.witness.look(s)
        self.show(s, "A looser rtol, `jac`, or backend='kernel'")
        return self.ask(s)

    def show(self, s: Live, advice: str) -> None:
        """Show the slowest row's way; `advice` is what may make an implicit method faster."""
        now = monotonic()
        if now >= self._due:  # which is said, and decides nothing
            LOG.warning(self._standing(s, now - self._since, advice))
            self._due = now + AGAIN
        if self._bar is not None:
            done = ((s.t - self._t0) / self._span).min().item() if s.t.numel() else 1.0
            self._bar.update(max(0.0, done - self._bar.n))

    def ask(self, s: Live) -> Tensor | None:
        """Ask the monitor: rows (B,) to stop, or None."""
        if self._monitor is None:
            return None
        t, y = s.t.clone(), s.y.clone()  # to which a monitor may write
        verdict = self._monitor(t if self._layout.batched else t[0], self._layout.unflatten(y))
        if verdict is None:
            return None
        try:
            stop = torch.as_tensor(verdict, dtype=torch.bool, device=s.t.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"monitor returned {verdict!r}; give a truth value") from error
        if stop.ndim > 1 or (stop.ndim == 1 and stop.shape[0] != s.t.shape[0]):
            raise InputError(
                f"monitor returned shape {tuple(stop.shape)}; give one value, or one a row"
            )
        return stop.expand(s.t.shape[0])

    def _standing(self, s: Live, seconds: float, advice: str) -> str:
        """Where the slowest row is after so many seconds, and what may help."""
        part = ((s.t - self._t0) / self._span).nan_to_num(nan=0.0)
        part = torch.where(s.status == int(Status.RUNNING), part, torch.inf)
        row = int(part.argmin())
        who = f"row {row}, the slowest, is" if self._layout.batched else "it is"
        done, tried = float(part[row]), int(s.attempts[row])
        text = f"this solve has taken {seconds:.0f} s so far: {who} at t = {float(s.t[row]):.6g} "
        text += f"with dt = {float(s.dt[row]):.3g} after {int(s.accepted[row])} steps in {tried} "
        text += f"attempts ({tried / seconds:.3g} a second)"
        if 0 < done < 1:
            text += (
                f", {100 * done:.3g} % of the interval; at this rate {seconds / done:.3g} s in all"
            )
        if self.witness.implicit:
            return f"{text}. {advice} may make it faster"
        return text + ". If dt is short beside what y does, the problem is stiff: method='rodas5p'"


class Onlookers:
    """Who sees the attempts of a solve: a watch, and those that count them."""

    def __init__(self, watch: Progress, *counting: Any) -> None:
        self._watch = watch
        self._counting = [x for x in counting if x is not None]
        self._counted = False

    def look(self, s: Live) -> Tensor | None:
        """See the state after an attempt: rows (B,) to stop, or None."""
        for x in () if self._counted else self._counting:
            x.look()
        self._counted = False
        return self._watch.look(s)

    def pass_by(self, t: Tensor, y: Tensor) -> None:
        """See the states (N, B, F) after N attempts, at t (N, B), before a look at the last."""
        for x in self._counting:
            x.look(len(t))
        self._counted = True
        self._watch.witness.pass_by(t, y)
