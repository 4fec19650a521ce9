"""One step of each family as lines of code: the formulas of `methods/`, with the numbers in place.

The lines live inside `method_step(Lanes& s, V dt)`, which leaves y1, error and f1 in `s` and
returns the lanes in which it succeeded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.kernels.emitting.expressions import literal

UNROLLED = 12  # components that are written out one by one


class Body:
    """The lines of a function over N components."""

    def __init__(self, size: int, *, autonomous: bool) -> None:
        self.lines: list[str] = []
        self.size = size
        self.autonomous = autonomous

    def add(self, *lines: str) -> None:
        """Append lines as they are."""
        self.lines += lines

    def each(self, template: str) -> None:
        """A statement for every component; `@` stands for its number."""
        if self.size <= UNROLLED:
            self.lines += [template.replace("@", str(i)) for i in range(self.size)]
        else:
            self.lines.append(f"for (int i = 0; i < N; i++) {template.replace('@', 'i')}")

    def field(self, c: float, argument: str, result: str) -> None:
        """Evaluate f at t + c dt."""
        time = "s.t" if self.autonomous or c == 0 else f"s.t + {literal(c)} * dt"
        self.add(f"field({time}, {argument}, s.p, {result});")

    def system(self, *, guard: bool = True) -> None:
        """Factorise W = I/(dt gamma) - J at the start of the step, and look for growth."""
        self.add(
            "V shift = 1.0 / (dt * GAMMA), stretch = dt / s.over, scale[N], unit[N], blur[N];",
            "s.over = dt;",
            "LOCAL_SYSTEM",
            "jacobian(s.t, s.y, s.p, jac, slope);",
        )
        self.each("scale[@] = v_max(s.atol[@] + s.rtol[@] * v_abs(s.y[@]), TINY);")
        self.add(
            "M fine = derivatives_finite(jac, slope);",
            "if (some(~fine & s.live)) {",
            "    by_differences(s, dt, scale, ~fine & s.live, jac, slope);",
            "    fine = derivatives_finite(jac, slope);",
            "}",
        )
        self.add("if (s.watched)", "    for (int e = 0; e < NJ; e++) s.jac[e] = jac[e];")
        self.each("s.moved[@] = s.moved[@] * stretch;")
        self.each("unit[@] = v_abs(s.y[@]) + scale[@];")
        # what decays will have to be right to atol, however large it is now
        self.each(
            "blur[@] = v_max(BLUR * unit[@], "
            "FAINT * sel(lt(s.moved[@] * s.y[@], 0.0), s.atol[@], scale[@]));"
        )
        self.add(
            "M rough = factorise(w, jac, shift, unit, blur) & s.live;",
            "const bool mend = some(rough);",
            "if (mend) {",
            "    for (int i = 0; i < NJ; i++) s.jac[i] = jac[i];",
            "    s.shift = shift, s.rough = rough;",
            "    pivot_lanes(s);",
            "}",
            "#if DIRECTIONS",
            "for (int e = 0; e < NW; e++) s.w[e] = w[e];",
            "s.mended = mend;",
            "#endif",
        )
        if guard:
            self.add("const M grown = turned(s, w, scale, mend);")


def weighted(weights: Iterable[float], names: Sequence[str]) -> str:
    """sum_j weights_j names_j without the zeros; "" where nothing is left."""
    text = ""
    for weight, name in zip(weights, names, strict=False):
        if weight == 0:
            continue
        sign = " - " if weight < 0 else " + "
        size = name if abs(weight) == 1 else f"{literal(abs(weight))} * {name}"
        text += (sign if text or weight < 0 else "") + size
    return text.strip() if not text.startswith(" - ") else "-" + text[3:]


def stage_names(count: int) -> list[str]:
    """What the slopes of all stages are called."""
    return [f"k[{j}][@]" for j in range(count)]


def plus(text: str, factor: str = "") -> str:
    """`text` as a summand, times a factor."""
    if not text:
        return ""
    return f" + ({text}) * {factor}" if factor else f" + ({text})"


def rosenbrock(m: Coefficients, body: Body) -> None:
    """Rosenbrock methods: one linear system a stage."""
    rosenbrock_stages(m, body)
    _arrive_rosenbrock(m, body, stage_names(m.stages))


def rosenbrock_stages(m: Coefficients, body: Body) -> None:
    """The system and its solutions k; `arg` is where the last stage was evaluated."""
    rosenbrock_system(body, guard=True)
    rosenbrock_slopes(m, body, range(m.stages))


def rosenbrock_system(body: Body, *, guard: bool) -> None:
    """What all stages have in common."""
    body.add("V arg[N], rhs[N];", "STAGE_VECTORS")
    body.system(guard=guard)
    body.add("const V per_dt = 1.0 / dt;")


def rosenbrock_slopes(m: Coefficients, body: Body, which: Iterable[int]) -> None:
    """The solutions k of some stages."""
    names = stage_names(m.stages)
    for i in which:
        slope = "" if body.autonomous or m.g[i] == 0 else f" + {literal(m.g[i])} * dt * slope[@]"
        coupling = plus(weighted(m.big_c[i], names), "per_dt")
        if at_start(m, i):
            body.each(f"rhs[@] = s.f0[@]{coupling}{slope};")
        else:
            body.each(f"arg[@] = s.y[@]{plus(weighted(m.a[i], names))};")
            body.field(m.c[i], "arg", "rhs")
            if i == m.f_at:
                body.each("s.f1[@] = rhs[@];")
            if coupling or slope:
                body.each(f"rhs[@] = rhs[@]{coupling}{slope};")
        body.add(f"solve_system(s, w, rhs, k[{i}], mend);")


def at_start(m: Coefficients, i: int) -> bool:
    """Whether stage i is evaluated where the step begins."""
    return not any(m.a[i]) and m.c[i] == 0


def _arrive_rosenbrock(m: Coefficients, body: Body, names: list[str]) -> None:
    last = m.stages - 1
    if m.accurate:
        body.each("s.y1[@] = arg[@];")
    elif m.b[:last] == m.a[last]:
        body.each(f"s.y1[@] = arg[@]{plus(weighted(m.b[last:], names[last:]))};")
    else:
        body.each(f"s.y1[@] = s.y[@]{plus(weighted(m.b, names))};")
    body.each(f"s.error[@] = {weighted(m.b_error, names)};")
    if m.f_at is None:
        body.field(1.0, "s.y1", "s.f1")
    body.add("const M ok = ~grown & fine;")


def explicit(m: Coefficients, body: Body) -> None:
    """Explicit Runge-Kutta methods."""
    names = stage_names(m.stages)
    explicit_stages(m, body)
    if m.accurate:
        body.each("s.y1[@] = arg[@];")
    else:
        body.each(f"s.y1[@] = s.y[@]{plus(weighted(m.b, names), 'dt')};")
    body.each(f"s.error[@] = dt * ({weighted(m.b_error, names)});")
    if m.b_lower is not None:
        body.each(f"arg[@] = dt * ({weighted(m.b_lower, names)});")
        body.add(
            "V high = measure(s.error, s.rtol, s.atol, s.y, s.y1);",
            "V low = 0.1 * measure(arg, s.rtol, s.atol, s.y, s.y1);",
            "V damping = high / v_sqrt(high * high + low * low);",
            "damping = sel(eq(high, 0.0), 0.0, damping);",
        )
        body.each("s.error[@] = s.error[@] * damping;")
    _end_of_runge_kutta(m, body)
    body.add("const M ok = allof();")


def explicit_stages(m: Coefficients, body: Body) -> None:
    """The slopes k; `arg` is where the last stage was evaluated."""
    body.add("V arg[N];", "STAGE_VECTORS")
    body.each("k[0][@] = s.f0[@];")
    explicit_slopes(m, body, range(1, m.stages))


def explicit_slopes(m: Coefficients, body: Body, which: Iterable[int]) -> None:
    """Those of some stages, which may be late ones."""
    names = stage_names(m.stages + m.interpolant.late)
    for i in which:
        body.each(f"arg[@] = s.y[@]{plus(weighted(m.a[i], names), 'dt')};")
        body.field(m.c[i], "arg", f"k[{i}]")
        if m.ends and i in m.ends:  # from which of them to which, and what f makes of it
            _compare(body, m.ends, i)


def _compare(body: Body, ends: tuple[int, int], i: int) -> None:
    """What two stages at the end of the step show of the spectral radius."""
    first, second = ends
    body.add("#if SHARED")
    if i == first:
        body.each("s.apart[@] = arg[@];")
    else:
        body.each("s.apart[@] = arg[@] - s.apart[@];")
        body.each(f"s.change[@] = k[{second}][@] - k[{first}][@];")
    body.add("#endif")


def late(m: Coefficients, body: Body) -> None:
    """The stages that serve an explicit method's interpolant alone."""
    body.add("V arg[N];")
    for i in range(m.stages, m.stages + m.interpolant.late):
        names = [f"s.k[{j}][@]" for j in range(i)]
        body.each(f"arg[@] = s.y[@]{plus(weighted(m.a[i], names), 'dt')};")
        body.field(m.c[i], "arg", f"s.k[{i}]")


def _end_of_runge_kutta(m: Coefficients, body: Body) -> None:
    if m.f_at is None:
        body.field(1.0, "s.y1", "s.f1")
    else:
        body.each(f"s.f1[@] = k[{m.f_at}][@];")


def esdirk(m: Coefficients, body: Body) -> None:
    """Diagonally implicit methods: a Newton iteration a stage, with the Jacobian of the step."""
    names = stage_names(m.stages)
    esdirk_stages(m, body)
    body.add("ok = ok & ~grown & fine;")
    if m.accurate:
        body.each("s.y1[@] = base[@] + z[@];")
    else:
        body.each(f"s.y1[@] = s.y[@]{plus(weighted(m.b, names), 'dt')};")
    error = f"dt * ({weighted(m.b_error, names)})"
    if m.filtered:
        body.each(f"z[@] = {error} * shift;")
        body.add("solve_system(s, w, z, base, mend);")
        body.each("s.error[@] = base[@];")
    else:
        body.each(f"s.error[@] = {error};")
    if m.interpolant.filters:
        body.add("if (s.keep) {")
        for r, row in enumerate(m.interpolant.filters, m.stages):
            body.each(f"z[@] = ({weighted(row, names)}) * shift;")
            body.add(f"solve_system(s, w, z, s.k[{r}], mend);")
        body.add("}")
    _end_of_runge_kutta(m, body)


def esdirk_stages(m: Coefficients, body: Body, *, guard: bool = True) -> None:
    """The system and the slopes k; base + z is where the last stage was evaluated."""
    names = stage_names(m.stages)
    body.add("V base[N], z[N];", "STAGE_VECTORS")
    body.system(guard=guard)
    body.add("const V h_gamma = dt * GAMMA;", "M ok = allof();")
    for i in range(m.stages):
        if not m.implicit[i]:
            body.each(f"k[{i}][@] = s.f0[@];")
            continue
        body.each(f"base[@] = s.y[@]{plus(weighted(m.a[i], names), 'dt')};")
        guess = weighted(m.guesses[i], ["s.f0[@]", *names])
        body.each(f"z[@] = h_gamma * ({guess});")
        time = "s.t" if body.autonomous else f"s.t + {literal(m.c[i])} * dt"
        body.add(f"ok = ok & newton(s, {time}, shift, base, z, w, scale, mend);")
        body.each(f"k[{i}][@] = z[@] * shift;")
