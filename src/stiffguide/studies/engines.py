"""Who solves the shards of a study: this process, those of `torchrun`, or a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from stiffguide.errors import InputError
from stiffguide.studies.designs import Design, Stream
from stiffguide.studies.parameters import Parameters, digest
from stiffguide.studies.shard import Task
from stiffguide.studies.stores import Store

AHEAD = 4  # shards for each worker that a cluster is given before one is done
Done = Callable[[int], None]  # told of the rows of a shard that is done


class Piece(NamedTuple):
    """A shard to be solved: its rows of a design, or parameters as they came."""

    number: int
    start: int
    rows: int
    design: Design | None
    came: Parameters = None

    def parameters(self) -> Parameters:
        """The parameters of its rows, made where they are needed."""
        if self.design is None:
            return self.came
        return self.design.part(self.start, self.start + self.rows)


def pieces(design: Design | Stream, size: int) -> Iterator[Piece]:
    """The shards of a study, in order."""
    if isinstance(design, Stream):
        for number, part in enumerate(design):
            yield Piece(number, part.start, part.rows, None, part.parameters)
        return
    for number, start in enumerate(range(0, design.rows, size)):
        yield Piece(number, start, min(size, design.rows - start), design)


def solved(task: Task, store: Store, piece: Piece) -> int:
    """Solve a shard that is not done and keep it; the number of its rows."""
    known = store.mark(piece.number)
    if known is None:
        store.keep(piece.number, piece.start, task.solve(piece.start, piece.parameters()))
    # nothing says what a stream brings but what it brings
    elif piece.design is None and known.hex() != digest(piece.came):
        raise InputError(
            f"shard {piece.number} was made with other parameters than the stream brings now: "
            "choose another output, or remove that folder"
        )
    return piece.rows


def here(
    task: Task, store: Store, todo: Iterable[Piece], share: tuple[int, int], done: Done
) -> None:
    """In this process: every so many-th shard, (which, of how many)."""
    for piece in todo:
        if piece.number % share[1] == share[0]:
            done(solved(task, store, piece))


def on_cluster(task: Task, store: Store, todo: Iterable[Piece], client: Any, done: Done) -> None:
    """By the workers of a Dask client, which all see the folder; a lost one is made up for."""
    from dask.distributed import as_completed

    todo = iter(todo)
    shared = client.scatter((task, store), broadcast=True)
    running: Any = as_completed()  # type: ignore[no-untyped-call]
    workers = max(1, len(client.scheduler_info()["workers"]))

    def submit() -> bool:
        piece = next(todo, None)
        if piece is not None:
            running.add(client.submit(_remote, shared, piece, pure=False, retries=2))
        return piece is not None

    for _ in range(AHEAD * workers):
        if not submit():
            break
    for future in running:
        done(future.result())
        submit()


def _remote(shared: tuple[Task, Store], piece: Piece) -> int:
    return solved(*shared, piece)
