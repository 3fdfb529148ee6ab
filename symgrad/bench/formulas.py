"""Formulas to differentiate, as people write them: physics, activations, losses, and seeded random ones.

Used by the benchmark of the simplifier, and by its tests; see :mod:`symgrad.bench.simplify`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from symgrad.expr import Expr

__all__ = ["ACTIVATIONS", "GROUPS", "LOSSES", "RANDOM", "Derivative", "derivatives", "feynman", "random_formula"]

RANDOM = 200  # random formulas

# name -> the activation, and what it is differentiated by
ACTIVATIONS: dict[str, tuple[str, str]] = {
    "sigmoid":           ("1/(1 + exp(-x))", "x"),
    "tanh":              ("tanh(x)", "x"),
    "tanh of exp":       ("(exp(x) - exp(-x))/(exp(x) + exp(-x))", "x"),
    "neuron":            ("tanh(w*x + b)", "w"),
    "softplus":          ("log(1 + exp(x))", "x"),
    "silu":              ("x/(1 + exp(-x))", "x"),
    "swish":             ("x/(1 + exp(-b*x))", "b"),
    "gelu":              ("x/2*(1 + erf(x/sqrt(2)))", "x"),
    "gelu by tanh":      ("0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))", "x"),
    "mish":              ("x*tanh(log(1 + exp(x)))", "x"),
    "relu":              ("where(x > 0, x, 0)", "x"),
    "elu":               ("where(x > 0, x, a*(exp(x) - 1))", "x"),
    "softsign":          ("x/(1 + abs(x))", "x"),
    "inverse root":      ("x/sqrt(1 + a*x**2)", "x"),
    "bent identity":     ("(sqrt(x**2 + 1) - 1)/2 + x", "x"),
    "snake":             ("x + sin(a*x)**2/a", "a"),
}  # fmt: skip
LOSSES: dict[str, tuple[str, str]] = {
    "squared":           ("(z - t)**2/2", "z"),
    "pseudo-Huber":      ("d**2*(sqrt(1 + ((z - t)/d)**2) - 1)", "z"),
    "Huber":             ("where(abs(z - t) <= d, (z - t)**2/2, d*(abs(z - t) - d/2))", "z"),
    "log cosh":          ("log(cosh(z - t))", "z"),
    "logistic":          ("log(1 + exp(-t*z))", "z"),
    "cross-entropy":     ("-(t*log(1/(1 + exp(-z))) + (1 - t)*log(1 - 1/(1 + exp(-z))))", "z"),
    "two classes":       ("-log(exp(a)/(exp(a) + exp(b)))", "a"),
    "focal":             ("-(1 - p)**2*log(p)", "p"),
    "Cauchy":            ("c**2/2*log(1 + ((z - t)/c)**2)", "z"),
    "Geman-McClure":     ("(z - t)**2/(1 + (z - t)**2)", "z"),
    "Welsch":            ("1 - exp(-((z - t)/c)**2/2)", "z"),
    "Gaussian":          ("log(s) + (z - t)**2/(2*s**2)", "s"),
    "Poisson":           ("exp(z) - t*z", "z"),
    "Kullback-Leibler":  ("p*log(p/q) + (1 - p)*log((1 - p)/(1 - q))", "p"),
}  # fmt: skip


@dataclass(frozen=True)
class Derivative:
    """One to be found: of ``formula`` by the symbol ``wrt``. ``group``: where the formula comes from."""

    group: str
    name: str
    formula: Expr
    wrt: Expr

    def __str__(self) -> str:
        return f"{self.group}: {self.name} by {self.wrt.name}"


@cache
def feynman() -> dict[str, str]:
    """A hundred formulas of physics, name -> text.

    Source: S.-M. Udrescu and M. Tegmark, "AI Feynman: a physics-inspired method for symbolic regression", Science Advances 6 (2020).
    """
    text = files("symgrad.bench").joinpath("feynman.txt").read_text(encoding="utf-8")
    return dict(line.split(": ", 1) for line in text.splitlines())


def derivatives(group: str) -> list[Derivative]:
    """All derivatives of a group: "feynman", "activations", "losses" or "random"."""
    return GROUPS[group](group)


def _of_feynman(group: str) -> list[Derivative]:
    from symgrad.parse import parse

    parsed = {name: parse(text) for name, text in feynman().items()}
    return [Derivative(group, name, y, x) for name, y in parsed.items() for x in y.free_symbols]


def _of_table(table: dict[str, tuple[str, str]]) -> Callable[[str], list[Derivative]]:
    def made(group: str) -> list[Derivative]:
        from symgrad.expr import symbol
        from symgrad.parse import parse

        return [Derivative(group, name, parse(text), symbol(wrt)) for name, (text, wrt) in table.items()]

    return made


def _of_random(group: str) -> list[Derivative]:
    found = [random_formula(seed) for seed in range(RANDOM)]
    return [Derivative(group, f"random {seed}", y, next(iter(y.free_symbols))) for seed, y in enumerate(found)]


GROUPS: dict[str, Callable[[str], list[Derivative]]] = {
    "feynman": _of_feynman, "activations": _of_table(ACTIVATIONS), "losses": _of_table(LOSSES), "random": _of_random,
}  # fmt: skip


def random_formula(seed: int) -> Expr:
    """A formula of three to nine operations in up to three symbols, which it may use more than once."""
    import symgrad as sg

    unary: Sequence[Callable[[Expr], Expr]] = (
        sg.exp, sg.sin, sg.cos, sg.tanh, sg.square, sg.square, lambda e: -e, lambda e: 1 / (1 + e * e), lambda e: sg.sqrt(1 + e * e),
        lambda e: sg.log(2 + sg.cos(e)), lambda e: e**3, lambda e: sg.atan(e), lambda e: 1 / e, lambda e: sg.exp(-e * e / 2),
    )  # fmt: skip
    binary: Sequence[Callable[[Expr, Expr], Expr]] = (
        lambda p, q: p + q, lambda p, q: p - q, lambda p, q: p * q, lambda p, q: p * q, lambda p, q: p / q, lambda p, q: p / (1 + q * q),
        lambda p, q: p * (p + q), lambda p, q: 3 * p - 2 * q,
    )  # fmt: skip
    rng = random.Random(seed)
    pool = list(sg.symbols("x y z"))[: rng.randint(1, 3)]
    for step in range(rng.randint(3, 6)):
        last = pool[-1] if step else rng.choice(pool)
        if rng.random() < 0.4:
            pool.append(rng.choice(unary)(last))
        else:
            operands = [last, rng.choice(pool)]
            rng.shuffle(operands)
            pool.append(rng.choice(binary)(*operands))
    return pool[-1] if pool[-1].free_symbols else random_formula(seed + RANDOM)
