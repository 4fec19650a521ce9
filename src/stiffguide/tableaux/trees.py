"""Rooted trees, and the order conditions that belong to them.

A tree with r nodes stands for one elementary differential of order r, and a method has order p when
the condition of every tree with at most p nodes holds (Butcher; Hairer, Norsett and Wanner I, II.2;
for Rosenbrock methods Hairer and Wanner II, IV.7, theorem 7.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import combinations_with_replacement, count
from math import prod
from typing import NamedTuple


@dataclass(frozen=True)
class Tree:
    """A root and the subtrees that hang on it; `Tree()` is the single node.

    Where f is a sum, the colour of a node says which part of it that stands for.
    """

    children: tuple[Tree, ...] = ()
    colour: str = ""

    def __hash__(self) -> int:
        """Kept, since trees are keys of every table."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.children, self.colour))

    @cached_property
    def order(self) -> int:
        """Number of nodes."""
        return 1 + sum(child.order for child in self.children)

    @cached_property
    def density(self) -> int:
        """gamma(t): the order times the densities of the children (I, II.2, def. 2.10)."""
        return self.order * prod(child.density for child in self.children)

    def __str__(self) -> str:
        """Nested brackets: "[[][]]" is a root with two leaves; colours stand before them."""
        return self.colour + "[" + "".join(map(str, self.children)) + "]"


@cache
def trees(order: int, colours: str = "") -> tuple[Tree, ...]:
    """All trees with `order` nodes: 1, 1, 2, 4, 9, 20, 48, 115, 286, ...

    With two colours, of which every node but the root has one: 1, 2, 7, 26, 107, 458, ...
    """
    return tuple(Tree(forest) for forest in _forests(order - 1, order - 1, colours))


@cache
def _hanging(order: int, colours: str) -> tuple[Tree, ...]:
    """All trees with `order` nodes, the root in every colour."""
    if not colours:
        return trees(order)
    return tuple(Tree(t.children, colour) for colour in colours for t in trees(order, colours))


@cache
def _forests(nodes: int, largest: int, colours: str) -> tuple[tuple[Tree, ...], ...]:
    """All multisets of trees with `nodes` nodes together and at most `largest` nodes each."""
    if nodes == 0:
        return ((),)
    if largest == 0:
        return ()
    return tuple(
        chosen + rest
        for number in range(nodes // largest + 1)
        for chosen in combinations_with_replacement(_hanging(largest, colours), number)
        for rest in _forests(nodes - number * largest, largest - 1, colours)
    )


class Letters(NamedTuple):
    """How a condition is spelt: edges and leaves below a node of several children, or of one."""

    edge: str
    leaf: str
    only_edge: str
    only_leaf: str


RUNGE_KUTTA = Letters("a", "c", "a", "c")
ROSENBROCK = Letters("alpha", "alpha", "beta", "beta")


def condition(tree: Tree, weights: str = "b", letters: Letters = RUNGE_KUTTA) -> str:
    """The order condition of a tree in readable form, such as "sum b_i a_ij c_j^2 = 1/12"."""
    indices = (letter for letter in "ijklmnopqrstuvw")
    names = (next(indices, f"x{number}") for number in count())
    root = next(names)

    def factors(node: Tree, name: str) -> list[str]:
        single = len(node.children) == 1
        edge = letters.only_edge if single else letters.edge
        leaf = letters.only_leaf if single else letters.leaf
        leaves = node.children.count(Tree())
        words = [f"{leaf}_{name}" + (f"^{leaves}" if leaves > 1 else "")] if leaves else []
        for child in node.children:
            if child.children:
                below = next(names)
                words += [f"{edge}_{name}{below}", *factors(child, below)]
        return words

    words = [f"{weights}_{root}", *factors(tree, root)]
    return f"sum {' '.join(words)} = {Fraction(1, tree.density)}"
