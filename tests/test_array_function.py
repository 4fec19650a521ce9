"""Functions of numpy arrays as fields, and which functions those are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stiffguide.fields.array_function import ArrayFunction, wanting_arrays

F64 = torch.float64


def of_tensors(t, y):
    return torch.stack((y[1], -y[0]))


def of_anything(t, y):
    return -2 * y


def of_lists(t, y):
    return [y[1], -y[0]]


def of_ufuncs(t, y):
    return -np.exp(y)


def of_nothing(t, y):
    raise RuntimeError("no")


def of_math(t, y):
    a, b = y
    return [b, -math.sin(a)]


def of_buffers(t, y):
    dy = np.zeros(2)
    dy[0] = y[1]
    return dy


@pytest.mark.parametrize(
    ("f", "wanted"),
    [
        (of_tensors, False),
        (of_anything, False),
        (of_nothing, False),
        (of_lists, True),
        (of_ufuncs, True),
        (of_math, True),
        (of_buffers, True),
        (lambda t, y: -float(y[0]) * np.ones(2), True),
        (lambda t, y, k=2.0: (k * y[1], np.cos(t)), True),
    ],
)
def test_who_wants_arrays_is_asked(f, wanted):
    y, t = torch.tensor([0.3, 0.7], dtype=F64), torch.tensor(0.3, dtype=F64)
    field = wanting_arrays(f, (), t, y)
    assert (field is not None) == wanted
    if field is not None:
        assert field(t, y).numpy() == pytest.approx(np.array(f(0.3, y.numpy()), dtype=float))


def test_states_are_arrays_of_their_shape_and_nesting():
    def matrices(t, Y):
        assert Y.shape == (3, 3)
        return Y @ Y * t

    def pairs(t, y):
        return {"a": y["b"].sum(), "b": -y["b"] * y["a"]}

    t, Y = torch.tensor(2.0, dtype=F64), torch.rand(3, 3, dtype=F64)
    assert torch.allclose(ArrayFunction(matrices)(t, Y), 2 * Y @ Y)
    pair = {"a": torch.tensor(0.3, dtype=F64), "b": torch.ones(2, dtype=F64)}
    found = ArrayFunction(pairs)(t, pair)
    assert float(found["a"]) == 2.0
    assert found["b"].tolist() == [-0.3, -0.3]
    assert wanting_arrays(pairs, (), t, pair) is None  # tensors will do
    with_numpy = wanting_arrays(lambda t, y: {"a": 0.0, "b": np.sin(y["b"])}, (), t, pair)
    assert with_numpy is not None


def test_columns_are_given_and_taken():
    def columns(t, y):
        assert y.shape == (2, 1)
        return [y[1], -y[0]]

    y = torch.tensor([0.3, 0.7], dtype=F64)
    assert ArrayFunction(columns, column=True)(torch.tensor(0.0), y).tolist() == [0.7, -0.3]


def test_a_buffer_that_is_used_again_is_copied():
    buffer = np.zeros(2)

    def f(t, y):
        buffer[:] = y
        return buffer

    y = torch.tensor([0.3, 0.7], dtype=F64)
    first = ArrayFunction(f)(torch.tensor(0.0), y)
    ArrayFunction(f)(torch.tensor(0.0), 2 * y)
    assert first.tolist() == [0.3, 0.7]
