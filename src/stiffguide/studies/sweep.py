"""`sweep`: one field for every row of parameters, in shards that are kept as they are done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from stiffguide import documents
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields.layout import Layout
from stiffguide.fields.split import flat_field, parted
from stiffguide.inputs import Array, Number
from stiffguide.options import Options
from stiffguide.progress import bars
from stiffguide.ranks import Ranks
from stiffguide.studies.designs import Design, Stream, given
from stiffguide.studies.engines import Piece, here, on_cluster, pieces
from stiffguide.studies.parameters import Parameters, digest, length, mapped
from stiffguide.studies.shard import Reduce, Start, Task
from stiffguide.studies.stores import store
from stiffguide.studies.study import Study, settings_of

FORMAT = "stiffguide study 1"
LONG = 400  # characters of a setting
FEW = 3  # rows by which a study is known
NUMBERS = 2**22  # of the states of a shard
MOST_ROWS = 2**16
# an array (N, ...), some by name, a design, or what yields such part by part
Asked = Tensor | Array | Mapping[str, Any] | Design | Stream | Iterable[Any]
REFUSED = {
    "batched": "a sweep is batched already",
    "dense": "an interpolant is not kept: name times in save_at, or reduce",
    "gradient": "a sweep records nothing for gradients: call solve, or fit",
    "sensitivities": "reduce may differentiate, in a solve of its own",
    "progress": "progress is that of the sweep",
    "monitor": "it would see one shard at a time: use an event",
    "on_attempt": "it would see one shard at a time",
    "checkpoint": "its shards are its checkpoints",
}


def sweep(
    f: Callable[..., Any],
    y0: Start,
    t0: Number,
    t1: Number,
    params: Asked,
    *,
    out: str | Path,
    rows_per_shard: int | None = None,
    reduce: Reduce | None = None,
    args: tuple[Any, ...] = (),
    client: Any = None,
    share: tuple[int, int] | None = None,
    progress: bool = False,
    **options: Unpack[Options],
) -> Study:
    """Solve dy/dt = f(t, y, params, *args) from t0 to t1 for all rows of params, in shards.

    f gets t (B,), y (B, ...) and the parameters of B rows, tensors (B, ...) in the form of
    params: an array (N, ...), a dict of arrays, a design of `stiffguide.designs`, or an iterable
    of such, each a shard. y0: a state (F,) for all, or y0(params) -> (B, F). out: a folder of npz
    files, or of Zarr 3 arrays where its name ends in .zarr (`pip install 'stiffguide[sweep]'`);
    whoever is killed calls again, and what is there is not solved again. rows_per_shard: by
    default as many as hold four million numbers of states, at most 65,536. reduce(solution,
    params) -> a dict of arrays (B, ...) to keep in the place of t and y. client: a Dask client
    whose workers see `out`; under torchrun the processes share the rows. share: (i, n), only
    every n-th shard from the i-th, for n processes that know nothing of each other. options: those
    of `solve`; backend="auto" is decided once, at the start. Raises InputError for what does not
    go together, and where `out` holds a study of other settings.
    """
    for name in options.keys() & REFUSED.keys():
        raise InputError(f"sweep takes no {name}: {REFUSED[name]}")
    path, design = Path(out), given(params)
    if isinstance(design, Stream) and path.suffix == ".zarr":
        raise InputError(
            f"{documents.shown(path)}: Zarr arrays have a length, which a stream does not tell: "
            "keep it in a folder, a name without .zarr"
        )
    task = Task(f, y0, float(t0), float(t1), args, reduce, options)
    plan = Plan.of(task, design, rows_per_shard)
    with Ranks() as ranks:
        if (client is not None) + (ranks.world > 1) + (share is not None) > 1:
            raise InputError("client, share and torchrun are three engines: use one of them")
        if ranks.rank == 0:
            settings = plan.settings(path)
            store(path, settings).open()
        ranks.wait()
        task, kept = plan.decided(settings_of(path)), Study(path).kept
        with _Bar(progress and ranks.rank == 0, plan.rows) as bar:
            if client is not None:
                on_cluster(task, kept, plan.todo, client, bar.more)
            else:
                here(task, kept, plan.todo, _part(share) or (ranks.rank, ranks.world), bar.more)
        ranks.wait()
    return Study(path)


@dataclass(frozen=True)
class Plan:
    """A task, its shards, and the first rows, by which it is known."""

    task: Task
    design: Design | Stream
    size: int  # rows of a shard
    todo: Iterable[Piece]
    few: Parameters  # of the first rows
    state: Tensor  # (B, ...) where these start

    @classmethod
    def of(cls, task: Task, design: Design | Stream, size: int | None) -> Plan:
        """Look at the first rows; InputError where there are none."""
        todo: Iterable[Piece] = pieces(design, FEW)
        first = next(iter(todo), None)
        if first is None:
            raise InputError("params yield nothing: there is nothing to solve")
        few = mapped(first.parameters(), lambda array: np.array(array[:FEW]))
        state = task.state(mapped(few, torch.from_numpy), length(few))
        rows = _rows(size, state[0].numel(), task.options.get("save_at"))
        todo = chain((first,), todo) if isinstance(design, Stream) else pieces(design, rows)
        return cls(task, design, rows, todo, few, state)

    @property
    def rows(self) -> int | None:
        """Of the whole study."""
        return None if isinstance(self.design, Stream) else self.design.rows

    def settings(self, out: Path) -> dict[str, Any]:
        """What the results depend on; what is undecided, as `out` has it or as it can be done."""
        task = self.task
        found: dict[str, Any] = {
            "format": FORMAT,
            "design": self.design.identity,
            "rows_per_shard": self.size,
            "t0": task.t0,
            "t1": task.t1,
            "options": {name: described(v) for name, v in sorted(task.options.items())},
            "args": described(task.args),
            "reduce": described(task.reduce),
            "f": self._values(),
            "backend": self._backend(out),
        }
        return {name: shortened(value) for name, value in found.items()}

    def decided(self, settings: Mapping[str, Any]) -> Task:
        """The task with the backend of the study, and without checks, which are made."""
        decided = {"backend": settings["backend"], "checks": False}
        return replace(self.task, options={**self.task.options, **decided})

    def _values(self) -> list[str]:
        """What f is at the first rows, to seven digits: a changed f has others."""
        layout = Layout(self.state, batched=True)
        told = (mapped(self.few, torch.from_numpy), *self.task.args)
        flat = flat_field(parted(self.task.f), told, layout)
        t = torch.full((layout.rows,), self.task.t0, dtype=torch.float64)
        try:
            found = flat(t, layout.flatten(self.state, "y0"))
        except Exception:  # a function of numpy, say: what it lacks is for `solve` to tell
            return []
        return [f"{value:.6e}" for value in found.flatten().tolist()]

    def _backend(self, out: Path) -> str:
        """The backend of all shards, which no clock may decide.

        The first rows are solved for it, which also has f checked: once, for what is checked is
        counted.
        """
        with suppress(InputError, KeyError):
            return str(settings_of(out)["backend"])
        asked = str(self.task.options.get("backend", "auto"))
        few = mapped(self.few, lambda array: array[:1])
        for backend in ("kernel", "eager") if asked == "auto" else (asked,):
            tried = replace(self.task, options={**self.task.options, "backend": backend})
            try:
                tried.solve(0, few)
            except UnsupportedError:
                if backend == asked:
                    raise
                continue
            return backend
        raise AssertionError("the eager loop refuses by InputError")


def _part(share: tuple[int, int] | None) -> tuple[int, int] | None:
    """Which of how many; InputError where that is none."""
    if share is None:
        return None
    which, many = share
    if not (isinstance(which, int) and isinstance(many, int) and 0 <= which < many):
        raise InputError(f"share is (i, n) with 0 <= i < n, not {share!r}")
    return which, many


def _rows(asked: int | None, numbers: int, save_at: Any) -> int:
    """The rows of a shard."""
    if asked is not None:
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
            raise InputError(f"rows_per_shard is a whole number from 1 on, not {asked!r}")
        return asked
    times = save_at.shape[-1] if isinstance(save_at, Tensor) else len(save_at or (0,))
    return max(1, min(MOST_ROWS, NUMBERS // (numbers * times)))


def described(value: Any) -> Any:
    """What can be told of a value in JSON: numbers as they are, arrays by a hash, else by name."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (Tensor, np.ndarray)):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        return digest(np.atleast_1d(array))
    if isinstance(value, Mapping):
        return {str(name): described(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: described(getattr(value, part.name)) for part in fields(value)}
        return {type(value).__name__: parts}
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def shortened(value: Any) -> Any:
    """A value in JSON, what is long in it by a hash: a file of settings is read within bounds."""
    if isinstance(value, Mapping):
        return {name: shortened(part) for name, part in value.items()}
    text = json.dumps(value)
    return value if len(text) <= LONG else f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"


class _Bar:
    """A bar of rows, with their rate and what is left, if it is to be seen."""

    def __init__(self, show: bool, rows: int | None) -> None:
        self._bar = bars()(total=rows, unit="row", unit_scale=True) if show else None

    def __enter__(self) -> _Bar:
        return self

    def more(self, rows: int) -> None:
        """So many rows are done."""
        if self._bar is not None:
            self._bar.update(rows)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
