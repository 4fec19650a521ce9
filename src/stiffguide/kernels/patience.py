"""How long a solve goes on in the eager loop before its kernel is built: until both cost the same.

Whoever waits as long as the dearer way takes never pays more than twice the cheaper one. Both are
counted in operations that torch dispatches, some four microseconds each: a rule that looked at the
clock would give a script other digits on every machine, and on a busy one other digits every time.
What solves of one kernel waited adds up, so that many short ones are worth a build, too.
"""

from __future__ import annotations

from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.kernels.request import Overtaken
from stiffguide.kernels.running.run import Kernel
from stiffguide.progress import Progress

# Counted by a dispatch mode for nine methods on fields of 3 and of 20 components: within 15 %, and
# within a fifth for those with Newton iterations, which keep their Jacobian for many attempts.
AN_ATTEMPT = {"explicit": 130, "rosenbrock": 200, "esdirk": 250}
A_STAGE = {"explicit": 11, "rosenbrock": 11, "esdirk": 50}
EVALUATIONS = {"explicit": 1, "rosenbrock": 1, "esdirk": 2}  # of f, by stage
A_SWEEP = 2  # operations of autograd for each of f's
SMALL = 4096  # numbers, from which an operation takes as long as its call
# What a compiler takes: 0.4 s for the code around a field, and more for each node of it. One of f
# stands for so many of f, J and df/dt, as on chemistry with 3 to 54 components; often for fewer.
A_BUILD = 100_000
A_NODE = 150
DERIVATIVES = 8


class Patience:
    """Counts the attempts of an eager solve, and builds its kernel when it is due."""

    attempts: int

    def __init__(
        self, kernel: Kernel, *, rows: int, wide: bool, watch: Progress | None = None
    ) -> None:
        self._kernel = kernel
        self._wide = wide
        self._attempt = kernel.passes * operations(kernel, rows)
        self._limit = build(kernel)
        # a monitor sees each attempt once: its solve ends where it began, and the next one is due
        self._whole = watch is not None and watch.monitored
        self.attempts = 0

    @property
    def over(self) -> bool:
        """Whether its kernel is due before the first attempt, and could be built."""
        waited = self._kernel.waited(wide=self._wide, more=0.0)
        return self._whole and waited >= self._limit and self._kernel.tried(wide=self._wide)

    def look(self, attempts: int = 1) -> None:
        """Take note of attempts; raises Overtaken when the kernel has been built."""
        self.attempts += attempts
        waited = self._kernel.waited(wide=self._wide, more=attempts * self._attempt)
        if waited < self._limit or self._whole:
            return
        if self._kernel.tried(wide=self._wide):
            raise Overtaken(self._kernel, self.attempts)
        self._limit = float("inf")


def operations(kernel: Kernel, rows: int) -> float:
    """What torch dispatches in one attempt of the eager loop, large ones for several."""
    method: Coefficients = kernel.method
    family, n, f = method.family, kernel.traced.features, kernel.traced.operations
    count = AN_ATTEMPT[family] + method.stages * A_STAGE[family]
    count += method.stages * EVALUATIONS[family] * f
    size = rows * n
    if family == "explicit":
        return count * (1 + size / SMALL)
    count += n * A_SWEEP * f * (family == "rosenbrock")
    return count * (1 + size / SMALL) + size  # the rows' matrices are factorised one by one


def build(kernel: Kernel) -> float:
    """What a build takes, in the same; of methods that share the rows, that of both."""
    return sum(map(_build, kernel.parts))


def _build(kernel: Kernel) -> float:
    nodes = len(kernel.traced.plain.nodes)
    derivatives = 1 if kernel.method.family == "explicit" else DERIVATIVES
    return kernel.size * (A_BUILD + A_NODE * nodes * derivatives)
