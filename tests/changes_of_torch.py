"""A tensor, or a module of torch."""

from __future__ import annotations

import operator
import typing
from collections.abc import Callable
from typing import Any

import torch
from changes import D, by, followed, item, number, setting
from torch import Tensor, nn


def linear() -> nn.Linear:
    layer = nn.Linear(3, 3, bias=False).double().requires_grad_(False)
    layer.weight.copy_(-torch.eye(3) - 0.1)
    return layer


class Net(nn.Module):
    table: typing.ClassVar[dict[str, float]] = {"k": 1.0}

    def __init__(self) -> None:
        super().__init__()
        self.k, self._k, self._own, self._w = 1.0, 1.0, {"k": 1.0}, number(1.0)
        self.layer = linear()

    def forward(self, t: Any, y: Tensor) -> Tensor:
        return self.k * self._k * self._own["k"] * self._w * self.table["k"] * self.layer(y)


def net(change: Callable[[Net], Any]) -> Any:
    made = Net()
    Net.table["k"] = 1.0
    return made, lambda: change(made)


@followed
def a_weight_replaced() -> Any:
    weight = nn.Parameter(-3 * torch.eye(3, dtype=D), requires_grad=False)
    return net(lambda x: setattr(x.layer, "weight", weight))


@followed
def a_weight_in_place() -> Any:
    return net(lambda x: x.layer.weight.mul_(2))


@followed
def the_data_of_a_weight() -> Any:
    return net(lambda x: setattr(x.layer.weight, "data", 2 * x.layer.weight.data))


@followed
def a_number_of_a_module() -> Any:
    return net(lambda x: setattr(x, "k", 2.0))


@followed
def a_private_number_of_a_module() -> Any:
    return net(lambda x: setattr(x, "_k", 2.0))


@followed
def a_private_dict_of_a_module() -> Any:
    return net(lambda x: operator.setitem(x._own, "k", 2.0))


@followed
def a_private_tensor_of_a_module() -> Any:
    return net(lambda x: setattr(x, "_w", number(2.0)))


@followed
def a_dict_of_the_class_of_a_module() -> Any:
    return net(lambda x: operator.setitem(Net.table, "k", 2.0))


@followed
def a_layer_replaced() -> Any:
    return net(lambda x: setattr(x, "layer", nn.Identity()))


@followed
def a_setting_of_a_layer() -> Any:
    layer = nn.Softplus(beta=1.0)
    return (lambda t, y: -layer(y)), setting(layer, "beta")


@followed
def a_hook() -> Any:
    return net(lambda x: x.layer.register_forward_hook(lambda m, given, y: 2 * y))


@followed
def the_mode_of_a_module() -> Any:
    class Moody(nn.Module):
        def forward(self, t: Any, y: Tensor) -> Tensor:
            return -y if self.training else -2 * y

    made = Moody()
    return made, made.eval


@followed
def a_dict_of_parameters() -> Any:
    x = nn.ParameterDict({"k": nn.Parameter(number(1.0), requires_grad=False)})
    return by(lambda: x["k"]), item(x, "k", nn.Parameter(number(2.0), requires_grad=False))


@followed
def a_buffer() -> Any:
    made = nn.Module()
    made.register_buffer("k", number(1.0))
    return by(lambda: made.k), setting(made, "k", number(2.0))


@followed
def a_function_of_functions() -> Any:
    x = {"k": 1.0}
    return torch.vmap(lambda t, y: -x["k"] * y, in_dims=(None, 0)), item(x, "k")


@followed
def a_tensor_in_place() -> Any:
    x = torch.tensor([1.0, 2.0, 3.0], dtype=D)
    return (lambda t, y: -x * y), lambda: x.mul_(2)


@followed
def the_data_of_a_tensor() -> Any:
    x = torch.tensor([1.0, 2.0], dtype=D)
    return by(lambda: x.sum()), setting(x, "data", torch.tensor([1.0, 2.0, 3.0], dtype=D))


@followed
def the_zeros_of_a_tensor() -> Any:
    x = torch.tensor([1.0, 0.0, 1.0], dtype=D)
    return (lambda t, y: -x * y), lambda: x.fill_(2.0)


@followed
def an_attribute_of_a_tensor() -> Any:
    x = number(1.0)
    x.k = 1.0  # type: ignore[attr-defined]
    return by(lambda: x * x.k), setting(x, "k")  # type: ignore[attr-defined]
