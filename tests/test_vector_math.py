"""Every function of symgrad.render.vector_math, compiled alone in a loop over arrays, against mpmath."""

from __future__ import annotations

import csv
import ctypes
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as binding
import mpmath as mp
import numpy as np
import pytest
from llvmlite import ir
from minimax import minimax

from symgrad.render.vector_math import FUNCTIONS, Target, host, math_function

Array = np.ndarray[Any, Any]
PRECISION = 400  # bits, enough for sin(1e22) and for lgamma near its zeros


# ---- compiling one function -------------------------------------------------------------------------------------------------------------

ELEMENTS = {"float64": ir.DoubleType(), "float32": ir.FloatType()}


def loop_module(name: str, dtype: str, lanes: int, arity: int, target: Target | None, parameters: dict[str, int]) -> Any:
    """``void loop(inputs..., output, count)`` over whole vectors."""
    element, index = ELEMENTS[dtype], ir.IntType(64)
    type_ = element if lanes == 1 else ir.VectorType(element, lanes)
    module = ir.Module()
    module.triple = binding.get_default_triple()
    loop = ir.Function(module, ir.FunctionType(ir.VoidType(), [element.as_pointer()] * (arity + 1) + [index]), "loop")
    function = math_function(module, name, type_, target=target, **parameters)
    *pointers, count = loop.args
    entry, body, done = (loop.append_basic_block(label) for label in ("entry", "body", "done"))
    builder = ir.IRBuilder(entry)
    builder.cbranch(builder.icmp_signed(">", count, ir.Constant(index, 0)), body, done)
    builder.position_at_end(body)
    i = builder.phi(index)
    places = [builder.bitcast(builder.gep(p, [i], source_etype=element), type_.as_pointer()) for p in pointers]
    values = [builder.load(p, typ=type_, align=element_size(dtype)) for p in places[:-1]]
    builder.store(builder.call(function, values), places[-1], align=element_size(dtype))
    following = builder.add(i, ir.Constant(index, lanes))
    i.add_incoming(ir.Constant(index, 0), entry)
    i.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), body, done)
    builder.position_at_end(done)
    builder.ret_void()
    return module


def element_size(dtype: str) -> int:
    return np.dtype(dtype).itemsize


def target_machine(cpu: str | None) -> Any:
    target = binding.Target.from_default_triple()
    if cpu is not None:
        return target.create_target_machine(cpu=cpu, opt=3, jit=True)
    features = binding.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=binding.get_host_cpu_name(), features=features, opt=3, jit=True)


@cache
def compiled(name: str, dtype: str = "float64", lanes: int = 8, arity: int = 1, *, cpu: str | None = None, target: Target | None = None,
             **parameters: int) -> Callable[..., Array]:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = target_machine(cpu)
    module = binding.parse_assembly(str(loop_module(name, dtype, lanes, arity, target, parameters)))
    module.verify()
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (arity + 1), ctypes.c_int64)(engine.get_function_address("loop"))

    def call(*arrays: Array) -> Array:
        size = arrays[0].size
        padding = (0, -size % lanes)
        inputs = [np.pad(np.ascontiguousarray(a, dtype), padding, mode="edge") for a in arrays]
        result = np.empty(size + padding[1], dtype)
        entry(*(a.ctypes.data for a in inputs), result.ctypes.data, result.size)
        return result[:size]

    call.engine = engine  # type: ignore[attr-defined]  # owns the code
    return call


# ---- references and sample points -------------------------------------------------------------------------------------------------------

def ulps(result: Array, exact: list[Any]) -> Array:
    """The distance from the exact values, in units of the last place of these (subnormals: of the smallest number)."""
    info = np.finfo(result.dtype)
    errors = []
    for value, reference in zip(result.tolist(), exact, strict=True):
        nearest = float(reference)
        with np.errstate(over="ignore"):
            nearest = float(result.dtype.type(nearest))
        if np.isnan(nearest) or np.isnan(value):
            errors.append(0.0 if np.isnan(nearest) and np.isnan(value) else np.inf)
        elif np.isinf(nearest) or np.isinf(value):
            close = nearest == value or max(min(nearest, value), -max(nearest, value)) == float(info.max)
            errors.append((0.0 if nearest == value else 1.0) if close else np.inf)
        else:
            exponent = mp.frexp(reference)[1] - 1 if reference else -10**6
            unit = mp.ldexp(1, int(max(exponent, info.minexp)) - info.nmant)
            errors.append(float(abs(mp.mpf(value) - reference) / unit))
    return np.array(errors)


@dataclass(frozen=True)
class Case:
    """A function, where it is looked at, and the largest error in ulp that is let pass."""

    name: str
    reference: Callable[..., Any]
    ranges: tuple[tuple[float, float], ...]       # sampled evenly, beside all magnitudes with both signs
    hard: tuple[float, ...] = ()
    limit: dict[str, float] = field(default_factory=lambda: {"float64": 2.0, "float32": 2.0})
    parameters: tuple[tuple[str, int], ...] = ()
    scale: Callable[[Any], Any] | None = None     # where errors are relative to more than the value (near zeros of the function)
    domain: tuple[float, float] = (-np.inf, np.inf)
    share: float = 1.0                            # of the points: less where mpmath is slow

    @property
    def label(self) -> str:
        return "-".join([self.name, *(str(v) for _, v in self.parameters), *(["left"] if self.domain[1] < 0 else [])])


def sample(case: Case, dtype: str, count: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    count = int(count * case.share)
    info = np.finfo(dtype)
    parts = [rng.uniform(low, high, count) for low, high in case.ranges]
    exponents = rng.uniform(np.log10(float(info.smallest_subnormal)), np.log10(float(info.max)), count // 4)
    magnitudes = 10.0**exponents
    parts += [magnitudes, -magnitudes, np.array(case.hard)]
    with np.errstate(over="ignore"):
        x = np.concatenate(parts).astype(dtype)
    return np.unique(x[np.isfinite(x) & (x >= case.domain[0]) & (x <= case.domain[1])])


ONE = {"float64": 1.0, "float32": 1.0}

CASES = [
    Case("exp", mp.exp, ((-1, 1), (-745.2, 709.79), (-104, 88.8)), (709.78, -745.1, -708.4, -87.4, -103.9), limit=ONE),
    Case("expm1", mp.expm1, ((-1, 1), (-45, 709.79), (-20, 88.8), (-1e-3, 1e-3)), (709.78, 709.7827, 88.72)),
    Case("log", mp.log, ((0.5, 2), (0.99, 1.01), (0, 1e3)), (5e-324, 1e-45, 1e308, 1.0, 2.220446049250313e-16), domain=(5e-324, np.inf),
         limit=ONE),
    Case("log1p", mp.log1p, ((-0.9, 2), (-1, 1e3), (-1e-3, 1e-3)), (-0.9999999999999999, 1e308), domain=(np.nextafter(-1, 0), np.inf)),
    Case("sin", mp.sin, ((-7, 7), (-1e5, 1e5), (-1e6, 1e6)), (1e22, *(np.arange(1, 400) * (np.pi / 2)), 355.0, 411557987.0)),
    Case("cos", mp.cos, ((-7, 7), (-1e5, 1e5), (-1e6, 1e6)), (1e22, *(np.arange(1, 400) * (np.pi / 2)), 355.0, 411557987.0)),
    Case("tan", mp.tan, ((-7, 7), (-1e5, 1e5), (-1e6, 1e6)), (1e22, *(np.arange(1, 400) * (np.pi / 2)), 355.0, 411557987.0)),
    Case("tanh", mp.tanh, ((-1, 1), (-25, 25), (0.6, 1.0)), (0.75, 0.7499999, 18.7, 19.06, 20, 22, 400), limit=ONE),
    Case("sigmoid", lambda x: 1 / (1 + mp.exp(-x)), ((-1, 1), (-40, 40), (-746, -700), (-104, -85)),
         (-36.7, -36.8, -37.0, -709.8, -744.5, -745.2, -745.14, -88.8, -103.3, -103.98, 1e3, -1e3), limit=ONE),
    Case("silu", lambda x: x / (1 + mp.exp(-x)), ((-1, 1), (-40, 40), (-755, -700), (-109, -80)), (-708.4, -752.2, -108.6, 1e3, -1e3)),
    Case("gelu", lambda x: x * mp.erfc(-max(x, -100) / mp.sqrt(2)) / 2, ((-2, 1), (-40, 9), (-39, -37), (-14.6, -13)), (-1e3, 1e3, -38.57)),
    Case("gelu_tanh", lambda x: x / (1 + mp.exp(-2 * mp.sqrt(2 / mp.pi) * (max(x, -100) + mp.mpf("0.044715") * max(x, -100)**3))),
         ((-1, 1), (-22, 9), (-22, -20), (-11, -9)), (-1e3, 1e3, -21.6)),
    Case("asin", mp.asin, ((-1, 1), (0.99, 1)), (0.5, 0.50000001, 0.9999999999999999, 1, -1), domain=(-1, 1)),
    Case("acos", mp.acos, ((-1, 1), (0.99, 1), (-1, -0.99)), (0.5, 0.9999999999999999, 1, -1), domain=(-1, 1)),
    Case("atan", mp.atan, ((-1, 1), (-5, 5)), (1, 0.4142135623730951, 2.414213562373095, 2.414213562373096, 1e200)),
    Case("sinh", mp.sinh, ((-1, 1), (-711, 711), (-89, 89)), (710.4, 710.475, 711, 89.41)),
    Case("cosh", mp.cosh, ((-1, 1), (-711, 711), (-89, 89)), (710.4, 710.475, 711, 89.41)),
    Case("asinh", mp.asinh, ((-1, 1), (-50, 50)), (1e200, 2.0**28, 2.0**28 + 1)),
    Case("acosh", mp.acosh, ((1, 2), (1, 1.001), (1, 1e3)), (1e200, 2.0**28, 2.0**28 + 1), domain=(1, np.inf)),
    Case("atanh", mp.atanh, ((-1, 1), (-0.5, 0.5), (0.99, 1)), (0.5, 0.49999999999, 0.9999999999999999),
         domain=(np.nextafter(-1, 0), np.nextafter(1, 0))),
    Case("erf", mp.erf, ((-1, 1), (-6, 6)), (1, 0.9999999999999999, 26, -6)),
    Case("erfc", lambda x: mp.erfc(max(mp.mpf(-100), min(x, mp.mpf(100)))), ((-1, 1), (-6, 27.3), (-6, 10.1)),
         (0.79, 0.93, 26.5, 27.2, 10)),
    *(Case("powi", lambda x, n=n: x**n, ((-2, 2), (-1e3, 1e3)), parameters=(("exponent", n),), domain=(-1e30, 1e30))
      for n in (3, 4, 37, -2, -7)),
    Case("lgamma", lambda x: mp.log(abs(mp.gamma(x))) if abs(x) < 1e6 else mp.loggamma(x), ((0, 3), (0.9, 1.1), (1.9, 2.1), (0, 200)),
         (1, 2, 8, 2.5, 1e300), domain=(5e-324, np.inf)),
    Case("digamma", mp.digamma, ((0, 3), (1.4, 1.5), (0, 200)), (1.4616321449683622, 1, 2.25, 6.25, 1e300), domain=(5e-324, np.inf)),
    *(Case("polygamma", lambda x, n=n: mp.polygamma(n, x), ((0, 3), (0, 40)), parameters=(("order", n),), domain=(1e-300, 1e30), share=0.1)
      for n in (1, 2, 5)),
    # Between the poles there are zeros, so the error counts against the larger of the two numbers that reflection subtracts.
    Case("lgamma", lambda x: mp.log(abs(mp.gamma(x))), ((-3, 0), (-30, 0)), (-1e-17, -1e-40), domain=(-100.5, -1e-44),
         limit={"float64": 3.0, "float32": 3.0}, scale=lambda x: abs(mp.loggamma(-x)) + abs(mp.log(-x))),
    Case("digamma", mp.digamma, ((-3, 0), (-30, 0)), (-1e-17, -1e-40), domain=(-100.5, -1e-44),
         limit={"float64": 3.0, "float32": 3.0}, scale=lambda x: mp.digamma(1 - x) + abs(mp.pi * mp.cot(mp.pi * x))),
    *(Case("polygamma", lambda x, n=n: mp.polygamma(n, x), ((-3, 0), (-30, 0)), parameters=(("order", n),), domain=(-100.5, -1e-30),
           limit={"float64": 3.0, "float32": 3.0}, share=0.1, scale=lambda x, n=n: abs(mp.polygamma(n, 1 - x))) for n in (1, 2, 3)),
]


def measure(case: Case, dtype: str, lanes: int, count: int, **options: Any) -> tuple[float, float]:
    """The largest error in ulp, and where."""
    x = sample(case, dtype, count)
    result = compiled(case.name, dtype, lanes, **options, **dict(case.parameters))(x)
    with mp.workprec(PRECISION):
        exact = [case.reference(mp.mpf(v)) for v in x.tolist()]
        errors = ulps(result, exact)
        if case.scale is not None:
            for i in np.flatnonzero(errors > 1):
                size = abs(exact[i])
                errors[i] *= float(size / max(size, case.scale(mp.mpf(float(x[i])))))
    worst = int(np.argmax(errors))
    return float(errors[worst]), float(x[worst])


def ulp_table(count: int = 5_000) -> str:
    """The largest errors over many points: what the package's docstring shows."""
    rows = [(case.label, *(measure(case, dtype, lanes, count)[0] for dtype, lanes in COLUMNS)) for case in CASES]
    rows += [(name, *(measure_pairs(name, dtype, lanes, count)[0] for dtype, lanes in COLUMNS)) for name in PAIRS]
    lines = [f"{label:17}" + "".join(f"{error:9.2f}" for error in errors) for label, *errors in rows]
    return "\n".join([f"{'function':17}" + "".join(f"{title:>9}" for title in ("double", "float", "scalar")), *lines])


COLUMNS = (("float64", 8), ("float32", 16), ("float64", 1))
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
functions = pytest.mark.parametrize("case", {c.name: c for c in CASES}.values(), ids=lambda case: case.label)


# ---- tests ------------------------------------------------------------------------------------------------------------------------------

@cases
@pytest.mark.parametrize("dtype, lanes", [("float64", 8), ("float32", 16)])
def test_largest_error(case: Case, dtype: str, lanes: int) -> None:
    error, where = measure(case, dtype, lanes, 250)
    assert error <= case.limit[dtype], f"{case.label}({where!r}) is off by {error:.2f} ulp"


@functions
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_scalars(case: Case, dtype: str) -> None:
    error, where = measure(case, dtype, 1, 60)
    assert error <= 4.0, f"{case.label}({where!r}) is off by {error:.2f} ulp"


@functions
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_width_gives_the_same_bits(case: Case, dtype: str) -> None:
    x = sample(case, dtype, 60)
    results = [compiled(case.name, dtype, lanes, **dict(case.parameters))(x).tobytes() for lanes in (4, 8, 16)]
    assert len(set(results)) == 1


OTHER_PROCESSORS = {"x86-64": Target(), "haswell": Target(fused=True)}  # the oldest of the family, and AVX2


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="names processors of that family")
@functions
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("cpu", [cpu for cpu, target in OTHER_PROCESSORS.items() if not target.fused or host().fused])
def test_other_processors(case: Case, dtype: str, cpu: str) -> None:
    error, where = measure(case, dtype, 4, 60, cpu=cpu, target=OTHER_PROCESSORS[cpu])
    assert error <= max(3.0, case.limit[dtype]), f"{case.label}({where!r}) is off by {error:.2f} ulp"


@functions
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nan_stays(case: Case, dtype: str) -> None:
    """Quiet NaNs with and without a payload, and no neighbour is touched."""
    payloads = {"float64": (np.uint64, [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001, 0x7FF80000FFFFFFFF]),
                "float32": (np.uint32, [0x7FC00000, 0xFFC00000, 0x7FC00001, 0x7FC0FFFF])}[dtype]
    x = np.full(16, 0.5, dtype)
    x[::4] = np.array(payloads[1], payloads[0]).view(dtype)
    y = compiled(case.name, dtype, 8, **dict(case.parameters))(x)
    assert np.isnan(y[::4]).all()
    reference = compiled(case.name, dtype, 8, **dict(case.parameters))(np.full(16, 0.5, dtype))
    assert np.array_equal(np.delete(y, slice(None, None, 4)), np.delete(reference, slice(None, None, 4)), equal_nan=True)


ODD = ("expm1", "log1p", "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf")


@pytest.mark.parametrize("name", sorted(set(ODD) & set(FUNCTIONS)))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lanes", [1, 8])
def test_zeros_and_subnormals_keep_sign_and_value(name: str, dtype: str, lanes: int) -> None:
    tiny = float(np.finfo(dtype).smallest_subnormal)
    x = np.array([0.0, -0.0, tiny, -tiny, 3 * tiny, -1000 * tiny], dtype)
    y = compiled(name, dtype, lanes)(x)
    expected = x if name != "erf" else np.array([float(mp.erf(float(v))) if v else float(v) for v in x]).astype(dtype)
    assert y.tobytes() == expected.tobytes()


INF, NAN = np.inf, np.nan
LIMITS: dict[str, list[tuple[float, float]]] = {  # (x, value); signs of zeros count
    "exp": [(INF, INF), (-INF, 0.0), (0.0, 1.0), (800.0, INF), (-800.0, 0.0)],
    "expm1": [(INF, INF), (-INF, -1.0), (800.0, INF), (-800.0, -1.0)],
    "log": [(0.0, -INF), (-0.0, -INF), (-1.0, NAN), (INF, INF), (-INF, NAN), (1.0, 0.0)],
    "log1p": [(-1.0, -INF), (-2.0, NAN), (INF, INF), (-INF, NAN)],
    "sin": [(INF, NAN), (-INF, NAN)],
    "cos": [(INF, NAN), (-INF, NAN), (0.0, 1.0)],
    "tan": [(INF, NAN), (-INF, NAN)],
    "tanh": [(INF, 1.0), (-INF, -1.0), (1e30, 1.0)],
    "sigmoid": [(INF, 1.0), (-INF, 0.0), (0.0, 0.5), (-0.0, 0.5), (1e3, 1.0), (-1e3, 0.0), (1e30, 1.0), (-1e30, 0.0)],
    "asin": [(1.0000001, NAN), (INF, NAN), (-INF, NAN), (-2.0, NAN)],
    "acos": [(1.0, 0.0), (1.0000001, NAN), (INF, NAN), (-INF, NAN), (2.0, NAN)],
    "atan": [(INF, np.pi / 2), (-INF, -np.pi / 2)],
    "sinh": [(INF, INF), (-INF, -INF), (800.0, INF), (-800.0, -INF)],
    "cosh": [(INF, INF), (-INF, INF), (800.0, INF), (0.0, 1.0)],
    "asinh": [(INF, INF), (-INF, -INF)],
    "acosh": [(INF, INF), (-INF, NAN), (1.0, 0.0), (0.99, NAN), (-5.0, NAN), (-1e10, NAN)],
    "atanh": [(1.0, INF), (-1.0, -INF), (1.01, NAN), (-2.0, NAN), (INF, NAN), (-INF, NAN)],
    "erf": [(INF, 1.0), (-INF, -1.0), (30.0, 1.0)],
    "lgamma": [(INF, INF), (-INF, INF), (0.0, INF), (-0.0, INF), (-1.0, INF), (-1e30, INF), (1.0, 0.0), (2.0, 0.0)],
    "digamma": [(INF, INF), (-INF, NAN), (0.0, -INF), (-0.0, INF), (-1.0, NAN), (-1e30, NAN)],
    "erfc": [(INF, 0.0), (-INF, 2.0), (0.0, 1.0), (30.0, 0.0), (-30.0, 2.0)],
}


@pytest.mark.parametrize("name", sorted(LIMITS))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lanes, options", [(1, {}), (8, {}), (4, {"target": Target()})], ids=["scalar", "lanes", "portable"])
def test_limits(name: str, dtype: str, lanes: int, options: dict[str, Any]) -> None:
    x, expected = np.array(LIMITS[name], dtype).T
    y = compiled(name, dtype, lanes, **options)(x)
    assert np.array_equal(y, expected, equal_nan=True), (x, y, expected)
    assert np.array_equal(np.signbit(y[~np.isnan(y)]), np.signbit(expected[~np.isnan(y)]))


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_huge_argument_leaves_its_neighbours_alone(name: str, dtype: str) -> None:
    x = np.linspace(-3, 3, 8).astype(dtype)
    alone = compiled(name, dtype, 8)(x)
    x[3] = 1e22
    beside = compiled(name, dtype, 8)(x)
    assert np.array_equal(np.delete(beside, 3), np.delete(alone, 3))
    assert ulps(beside[3:4], [getattr(mp, name)(mp.mpf(float(x[3])))])[0] < 1


PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Array]]] = {
    "pow": (lambda x, y: x**y, np.power), "atan2": (mp.atan2, np.arctan2), "hypot": (lambda x, y: mp.sqrt(x * x + y * y), np.hypot),
}


def sample_pairs(name: str, dtype: str, count: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    top = 300 if dtype == "float64" else 37
    magnitude = 10.0 ** rng.uniform(-top, top, (4, count)) * rng.choice([-1, 1], (4, count))
    if name == "pow":
        x = np.concatenate([rng.uniform(0, 3, count), abs(magnitude[0]), rng.uniform(0.99, 1.01, count), 10.0 ** rng.uniform(-3, 3, count)])
        y = np.concatenate([rng.uniform(-20, 20, count), rng.uniform(-1.2, 1.2, count), rng.uniform(-3e4, 3e4, count),
                            rng.uniform(-100, 100, count)])
    else:
        x = np.concatenate([rng.uniform(-3, 3, count), magnitude[1], magnitude[2]])
        y = np.concatenate([rng.uniform(-3, 3, count), magnitude[3], magnitude[2] * rng.uniform(0.3, 3, count)])
    with np.errstate(over="ignore", under="ignore"):
        return x.astype(dtype), y.astype(dtype)


def measure_pairs(name: str, dtype: str, lanes: int, count: int, **options: Any) -> tuple[float, tuple[float, float]]:
    x, y = sample_pairs(name, dtype, count)
    with mp.workprec(PRECISION):
        exact = [PAIRS[name][0](mp.mpf(a), mp.mpf(b)) for a, b in zip(x.tolist(), y.tolist())]
        errors = ulps(compiled(name, dtype, lanes, arity=2, **options)(x, y), exact)
    worst = int(np.argmax(errors))
    return float(errors[worst]), (float(x[worst]), float(y[worst]))


@pytest.mark.parametrize("name", sorted(PAIRS))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lanes, options", [(1, {}), (8, {}), (4, {"cpu": "x86-64", "target": Target()})], ids=["scalar", "lanes", "sse2"])
def test_two_operands(name: str, dtype: str, lanes: int, options: dict[str, Any]) -> None:
    if options and platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("names a processor of that family")
    error, where = measure_pairs(name, dtype, lanes, 100, **options)
    assert error <= 1.5, f"{name}{where!r} is off by {error:.2f} ulp"


@pytest.mark.parametrize("name", sorted(PAIRS))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lanes", [1, 8])
def test_two_operands_at_special_values(name: str, dtype: str, lanes: int) -> None:
    """All pairs of zeros, infinities, NaN, whole, odd and fractional numbers, as IEEE 754 and C have them (and so NumPy)."""
    info = np.finfo(dtype)
    positive = [0.0, float(info.smallest_subnormal), 0.5, 1 / 3, 1.0, 2.0, 3.0, 2.5, 1e7 + 1, 2.0**60, float(info.max), INF]
    values = np.array([*positive, *(-v for v in positive), NAN], dtype)
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        expected = PAIRS[name][1](x, y)
    result = compiled(name, dtype, lanes, arity=2)(x, y)
    assert np.array_equal(np.isnan(result), np.isnan(expected))
    assert np.array_equal(np.signbit(result[~np.isnan(expected)]), np.signbit(expected[~np.isnan(expected)]))
    np.testing.assert_array_max_ulp(result[np.isfinite(expected)], expected[np.isfinite(expected)], 2)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lanes", [1, 8])
def test_intrinsics(dtype: str, lanes: int) -> None:
    x = np.array([-2.5, -1.5, -0.5, -0.2, -0.0, 0.0, 0.5, 1.5, 2.5, 1e30, INF, -INF, NAN], dtype)
    with np.errstate(invalid="ignore"):
        for name, function in (("floor", np.floor), ("ceil", np.ceil), ("round", np.rint), ("sqrt", np.sqrt)):
            y, expected = compiled(name, dtype, lanes)(x), function(x)
            assert np.array_equal(y, expected, equal_nan=True), name
            assert np.array_equal(np.signbit(y[:-1]) | np.isnan(y[:-1]), np.signbit(expected[:-1]) | np.isnan(expected[:-1])), name
    assert np.array_equal(compiled("copysign", dtype, lanes, arity=2)(np.full_like(x, 3), x)[:-1], np.copysign(3, x)[:-1])


@pytest.mark.parametrize("exponent", [-3, -2, -1, 0, 1, 2, 3, 7, 8, 64])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lanes", [1, 8])
def test_whole_powers_at_special_values(exponent: int, dtype: str, lanes: int) -> None:
    info = np.finfo(dtype)
    x = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, INF, -INF, NAN, info.max, info.smallest_subnormal, -info.max, 1e30, 1e-30], dtype)
    with np.errstate(all="ignore"):
        expected = np.power(x, (dtype == "float64" and np.float64(exponent)) or np.float32(exponent))
    result = compiled("powi", dtype, lanes, exponent=exponent)(x)
    assert np.array_equal(np.isfinite(result), np.isfinite(expected))
    assert np.array_equal(result[~np.isfinite(expected)], expected[~np.isfinite(expected)], equal_nan=True)
    assert np.array_equal(np.signbit(result), np.signbit(expected)) or np.isnan(expected).any()
    np.testing.assert_array_max_ulp(result[np.isfinite(expected)], expected[np.isfinite(expected)], 2)


EDGES = list(csv.DictReader((Path(__file__).parent / "data" / "edge_values.csv").read_text().splitlines()))


def number(text: str) -> float:
    return float(text.split()[0])


@pytest.mark.parametrize("row", [r for r in EDGES if r["op"] in {c.name for c in CASES} or r["op"] == "sqrt"],
                         ids=lambda row: f"{row['op']}({row['input']})")
@pytest.mark.parametrize("lanes", [1, 8])
def test_the_table_of_hard_points(row: dict[str, str], lanes: int) -> None:
    x, expected = np.array([number(row["input"])]), number(row["value"])
    y = compiled(row["op"], "float64", lanes)(x)
    np.testing.assert_array_max_ulp(y, np.array([expected]), 1)


def test_names_and_parameters() -> None:
    module = ir.Module()
    vector = ir.VectorType(ir.DoubleType(), 4)
    assert math_function(module, "exp", vector) is math_function(module, "exp", vector)
    assert math_function(module, "exp", vector).linkage == "internal"
    with pytest.raises(KeyError):
        math_function(module, "no such function", vector)
    with pytest.raises(TypeError, match="parameters"):
        math_function(module, "exp", vector, order=2)


@pytest.mark.parametrize("lanes", [1, 8])
def test_polygamma_at_limits_and_poles(lanes: int) -> None:
    x = np.array([0.0, -0.0, -1.0, -7.0, INF, 1e300, 5e-324])
    odd = compiled("polygamma", "float64", lanes, order=1)(x)
    even = compiled("polygamma", "float64", lanes, order=2)(x)
    assert np.array_equal(odd, [INF, INF, INF, INF, 0.0, 1e-300, INF])
    assert np.array_equal(even, [-INF, INF, NAN, NAN, -0.0, -0.0, -INF], equal_nan=True)


@pytest.mark.parametrize("order", [30, 100, 200])
def test_polygamma_of_high_order(order: int) -> None:
    """Its factors leave the range of double where the product does not."""
    x = np.array([0.9, 3.0, 50.0, 1e3, 30.5])
    y = compiled("polygamma", "float64", 8, order=order)(x)
    with mp.workprec(PRECISION):
        assert ulps(y, [mp.polygamma(order, mp.mpf(v)) for v in x.tolist()]).max() < 4


def test_polygamma_needs_an_order() -> None:
    with pytest.raises(ValueError, match="order 0"):
        math_function(ir.Module(), "polygamma", ir.DoubleType(), order=0)


def test_a_coefficient_table_comes_from_the_exchange_algorithm() -> None:
    from symgrad.render.vector_math.exponential import EXP
    ends = float(mp.log(2) / 2) * 1.0005
    found, error = minimax(lambda r: (mp.expm1(r) - r) / r**2, 4, -ends, ends, lambda r: r**2 / mp.exp(r))
    assert np.allclose(found, EXP_FLOAT := next(v for k, v in EXP.items() if k.width == 32), rtol=1e-9) and len(EXP_FLOAT) == 5
    assert error < 2.0**-28


@pytest.mark.slow
@cases
@pytest.mark.parametrize("dtype, lanes", [("float64", 8), ("float32", 16)])
def test_largest_error_over_many_points(case: Case, dtype: str, lanes: int) -> None:
    error, where = measure(case, dtype, lanes, 5_000)
    assert error <= case.limit[dtype], f"{case.label}({where!r}) is off by {error:.2f} ulp"


if __name__ == "__main__":
    print(ulp_table())
