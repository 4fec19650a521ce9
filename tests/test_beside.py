"""Numbers beside tensors: what only moves entries about does the same to their numbers."""

import pytest
import torch
from torch.func import vmap
from torch.nn import functional as F

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.beside import CONSTANT, Beside


class Labels(Beside):
    """Knows movements alone, and keeps what was read."""

    def __init__(self):
        super().__init__()
        self.reads = []

    def rule(self, func, base, given):
        return None

    def read(self, tensor):
        self.reads.append(self.numbers(tensor).clone())


def written_slices(y):
    o = torch.zeros(y.shape)
    o[..., 1:-1, :] = y[..., 2:, :]
    o[..., 0, :] = y[..., -1, :]
    o.view(-1)[3] = y[0, 0, 0]
    return o


def written_twice(y):
    o = y.clone()
    half = o[:, ::2]
    half.copy_(y[:, :1].expand_as(half))
    o[:, 1] = 0.0
    half[0, 0].zero_()
    return torch.cat((o, half), 1)


def turned(y):
    o = y.clone()
    o.unsqueeze_(0).squeeze_(0).transpose_(0, -1)
    return o.clone(memory_format=torch.contiguous_format)


def given_memory(y):
    o = y.clone()
    torch.zeros(y.shape, out=o)
    o[:, 0] = y[:, 0]
    return o


MOVED = {
    "roll and flip": lambda y: y.roll(1, -1).flip(1),
    "pad": lambda y: F.pad(F.pad(y, (1, 1), mode="circular"), (2, 0, 1, 0)),
    "reflect": lambda y: F.pad(F.pad(y, (1, 1), mode="reflect"), (1, 1), mode="replicate"),
    "cat and stack": lambda y: torch.stack((torch.cat((y, y[:, :1]), 1)[:, 1:], y), -1),
    "unfold": lambda y: y.unfold(1, 3, 1)[..., ::2],
    "index": lambda y: y[:, torch.tensor([3, 0, 0])][..., torch.tensor([[0], [1]])],
    "mask": lambda y: y[:, torch.tensor([True, False, True, True])],
    "gather": lambda y: y.gather(1, torch.tensor([[[1, 0, 2]]])),
    "triangles": lambda y: torch.tril(y).triu(-1),
    "diagonals": lambda y: torch.diag_embed(y[0].diagonal()),
    "scattered": lambda y: torch.zeros(1, 4, 3).scatter(1, torch.tensor([[[3, 2, 0]]]), y),
    "put": lambda y: torch.zeros(4, 3).index_put((torch.tensor([2, 0]),), y[0, :2]),
    "as strided": lambda y: y.flatten().as_strided((3, 3), (2, 1), 1),
    "vmap": lambda y: vmap(lambda row: row.roll(1, 0).clone())(y),
    "repeat": lambda y: y.repeat(1, 2, 1).repeat_interleave(torch.tensor([1, 0, 2]), dim=-1),
    "given to gather": lambda y: torch.gather(
        y, 1, torch.tensor([[[3, 0, 2]]]), out=torch.empty(1, 1, 3)
    ),
    "slices": written_slices,
    "twice": written_twice,
    "turned": turned,
    "given": given_memory,
}  # fmt: skip


def labelled(f):
    """The value of f, of a y that holds its own numbers, and the numbers beside it."""
    y = torch.arange(1.0, 13.0).reshape(1, 4, 3)
    watch = Labels()
    watch.give(y, y.long())
    with torch.no_grad(), watch:
        out = f(y)
    return out, watch.numbers(out), watch


@pytest.mark.parametrize("name", MOVED)
def test_numbers_go_where_the_entries_go(name):
    out, numbers, _ = labelled(MOVED[name])
    assert torch.equal(out.long(), numbers)


def test_memory_that_is_freed_takes_its_numbers_along():
    def f(y):
        for _ in range(3000):
            y = y.roll(1, 1)
        return y

    *_, watch = labelled(lambda y: f(y.repeat(1, 30, 10)))
    assert len(watch._memories) < 3000


def test_new_memory_at_an_old_place_is_constant():
    def f(y):
        for _ in range(50):
            gone = y.roll(1, 1)
            del gone
            new = torch.ones(y.shape)
        return new

    assert (labelled(f)[1] == CONSTANT).all()


def test_values_that_are_read_are_told():
    def f(y):
        assert float(y[0, 1, 1]) == 5
        assert bool(torch.ones(1) > 0)
        return y

    *_, watch = labelled(f)
    assert [int(x) for x in watch.reads] == [5]


@pytest.mark.parametrize("f", [lambda y: y.view(torch.int32), lambda y: torch.igamma(y, y)])
def test_what_has_no_rule_is_refused(f):
    with pytest.raises(UntraceableError):
        labelled(f)


def test_other_dtypes_are_no_movement():
    with pytest.raises(UntraceableError):
        labelled(lambda y: y.double())


def test_complex_numbers_lie_beside_their_parts():
    y = torch.tensor([1.0 + 1j, 2 + 2j])
    watch = Labels()
    watch.give(y, y.real.long())
    with watch:
        out = torch.view_as_real(y)[1]
    assert watch.numbers(out).tolist() == [2, 2]
