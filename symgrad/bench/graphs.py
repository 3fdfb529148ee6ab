"""Scalar graphs of any size for the benchmark: seeded, written once for every arithmetic.

A :class:`Graph` is built by plain Python operators and five functions, so the same graph is made of symgrad's symbols,
CasADi's, floats, or complex numbers; the last give its derivative along a direction to rounding (``along``).
"""

from __future__ import annotations

import cmath
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["FAMILIES", "Graph", "along", "n_body", "random_dag", "recurrence", "robot_arm", "value"]

Array = np.ndarray[Any, Any]
Bound = tuple[float, float]


@dataclass(frozen=True)
class Graph:
    """``build(inputs, functions)`` gives the one result; ``functions`` has ``sin``, ``cos``, ``tanh``, ``exp`` and ``sqrt``.
    ``point``: where it is evaluated, one number an input. ``operations``: how many there are, counted while building."""

    name: str
    point: Array
    operations: int
    build: Callable[[Sequence[Any], Any], Any]


def value(graph: Graph) -> float:
    """The graph in Python floats."""
    return float(graph.build([float(v) for v in graph.point], math))


def along(graph: Graph, direction: Array) -> float:
    """The derivative along a direction by a complex step: exact to rounding, for there is no difference to cancel.

    Source: W. Squire and G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40 (1998).
    """
    step = 1e-100
    stepped = [complex(v, step * d) for v, d in zip(graph.point, direction, strict=True)]
    return float(graph.build(stepped, cmath).imag / step)


class _Counted:
    """A number that counts the operations made with it."""

    count = 0

    def _next(self, other: object = None) -> _Counted:
        _Counted.count += 1
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _next


class _Counting:
    """The functions, counted."""

    def __getattr__(self, name: str) -> Callable[[_Counted], _Counted]:
        return lambda x: x._next()


def _graph(name: str, point: Array, build: Callable[[Sequence[Any], Any], Any]) -> Graph:
    _Counted.count = 0
    build([_Counted()] * len(point), _Counting())
    return Graph(name, point, _Counted.count, build)


# --- random graphs ---------------------------------------------------------------------------------

_INPUTS, _WINDOW = 16, 24
_LARGEST, _STEEPEST = 3.0, 20.0  # values and slopes stay below: the result is well conditioned, so it can be compared


@dataclass(frozen=True)
class _Step:
    """One operation of a random graph: operands by number (inputs first), or a constant as the second."""

    op: str
    a: int
    b: int = -1
    constant: float = 0.0


def random_dag(operations: int, seed: int = 0) -> Graph:
    """A random graph in which every node reaches the result.

    An operand is one of the last values or, one time in eight, an input. A value that would fall out of the
    window unused is used first, and what is left at the end is added up.
    """
    rng = random.Random(seed)
    steps = _random_steps(operations, rng)

    def build(inputs: Sequence[Any], functions: Any) -> Any:
        values = list(inputs)
        for s in steps:
            values.append(_apply(s, values, functions))
        return values[-1]

    point = np.array([rng.uniform(-1, 1) for _ in range(_INPUTS)])
    return _graph("random", point, build)


def _apply(s: _Step, values: list[Any], functions: Any) -> Any:
    a = values[s.a]
    match s.op:
        case "add":
            return a + values[s.b]
        case "sub":
            return a - values[s.b]
        case "mul":
            return a * values[s.b]
        case "scale":
            return a * s.constant
    return getattr(functions, s.op)(a)


def _random_steps(operations: int, rng: random.Random) -> list[_Step]:
    bounds: list[Bound] = [(1.0, 1.0)] * _INPUTS  # of each value: its size, and the sum of its slopes
    unused = list(range(_INPUTS))
    steps: list[_Step] = []

    def operand() -> int:
        if rng.random() < 0.125:
            return rng.randrange(_INPUTS)
        return rng.randrange(max(0, len(bounds) - _WINDOW), len(bounds))

    while len(steps) < operations:
        left = operations - len(steps)
        if left < len(unused):
            step, bound = _combine("add", unused[0], unused[1 % len(unused)], bounds)
        elif left == len(unused):  # one operation more than joining takes
            step, bound = _scaled(unused[0], bounds)
        else:
            expiring = unused and (unused[0] < len(bounds) - _WINDOW or len(steps) < _INPUTS)
            step, bound = _bounded(unused[0] if expiring else operand(), operand(), bounds, rng)
        unused = [u for u in unused if u not in (step.a, step.b)] + [len(bounds)]
        bounds.append(bound)
        steps.append(step)
    return steps


def _combine(op: str, a: int, b: int, bounds: Sequence[Bound]) -> tuple[_Step, Bound]:
    (size_a, slope_a), (size_b, slope_b) = bounds[a], bounds[b]
    if op == "mul":
        return _Step(op, a, b), (size_a * size_b, size_a * slope_b + size_b * slope_a)
    return _Step(op, a, b), (size_a + size_b, slope_a + slope_b)


def _scaled(a: int, bounds: Sequence[Bound]) -> tuple[_Step, Bound]:
    size, slope = bounds[a]
    factor = 0.5 / max(size, slope)
    return _Step("scale", a, constant=factor), (size * factor, slope * factor)


def _bounded(a: int, b: int, bounds: Sequence[Bound], rng: random.Random) -> tuple[_Step, Bound]:
    """A random operation on these operands, or ``a`` made smaller where the result could become large."""
    op = rng.choices(("add", "sub", "mul", "sin", "cos", "tanh"), (5, 4, 6, 1, 1, 1))[0]
    size, slope = bounds[a]
    if op in ("sin", "cos", "tanh"):
        return _Step(op, a), (1.0 if op == "cos" else min(size, 1.0), slope)
    step, bound = _combine(op, a, b, bounds)
    return (step, bound) if bound[0] <= _LARGEST and bound[1] <= _STEEPEST else _scaled(a, bounds)


# --- graphs that people write ----------------------------------------------------------------------


def n_body(operations: int, seed: int = 0) -> Graph:
    """The energy of bodies in space that attract each other, softened: as many bodies as come nearest to the size asked for."""
    rng = np.random.default_rng(seed)
    bodies = max(2, round(0.5 + math.sqrt(operations / 6)))  # a pair takes 12
    masses = rng.uniform(0.5, 1.5, bodies).tolist()

    def build(inputs: Sequence[Any], functions: Any) -> Any:
        total: Any = 0.0
        for i in range(bodies):
            for j in range(i):
                dx, dy, dz = (inputs[3 * i + k] - inputs[3 * j + k] for k in range(3))
                total = total - masses[i] * masses[j] / functions.sqrt(dx * dx + dy * dy + dz * dz + 0.01)
        return total

    return _graph("n-body", rng.normal(size=3 * bodies), build)


def robot_arm(joints: int = 12, seed: int = 0) -> Graph:
    """How far the hand of an arm is from its target, squared: frames by Denavit and Hartenberg, one angle a joint."""
    rng = np.random.default_rng(seed)
    links, twists = rng.uniform(0.2, 0.6, joints).tolist(), rng.uniform(-1.5, 1.5, joints).tolist()

    def build(inputs: Sequence[Any], functions: Any) -> Any:
        axes: list[list[Any]] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        place: list[Any] = [0.0, 0.0, 0.0]
        for angle, link, twist in zip(inputs, links, twists, strict=True):
            c, s, ct, st = functions.cos(angle), functions.sin(angle), math.cos(twist), math.sin(twist)
            x, y, z = axes
            along = [c * p + s * q for p, q in zip(x, y, strict=True)]
            across = [c * q - s * p for p, q in zip(x, y, strict=True)]
            place = [p + link * a for p, a in zip(place, along, strict=True)]
            pairs = list(zip(across, z, strict=True))
            axes = [along, [ct * a + st * b for a, b in pairs], [ct * b - st * a for a, b in pairs]]
        offsets = [p - t for p, t in zip(place, (0.5, -1.0, 1.5), strict=True)]
        return offsets[0] * offsets[0] + offsets[1] * offsets[1] + offsets[2] * offsets[2]

    return _graph("robot arm", rng.uniform(-1, 1, joints), build)


def recurrence(operations: int, seed: int = 0) -> Graph:
    """The energy of a damped, driven pendulum after many steps of the leapfrog method: one long chain of operations."""
    steps = max(1, (operations - 6) // 8)
    h, drive = 0.01, [0.2 * math.sin(0.03 * k + seed) for k in range(steps)]

    def build(inputs: Sequence[Any], functions: Any) -> Any:
        angle, speed, gravity, damping = inputs
        for k in range(steps):
            speed = speed - h * (gravity * functions.sin(angle) + damping * speed - drive[k])
            angle = angle + h * speed
        return 0.5 * speed * speed + gravity * (1.0 - functions.cos(angle))

    return _graph("recurrence", np.array([0.7, 0.1, 1.3, 0.15]), build)


FAMILIES: dict[str, Callable[[int, int], Graph]] = {"random": random_dag, "n-body": n_body, "recurrence": recurrence}
"""Families of any size; the robot arm has one."""
