"""Sparse Jacobians and Hessians: patterns, colourings, and what calls return, against the dense ones."""

from __future__ import annotations

import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from random_graphs import _step, grow, inputs, values
from scipy.sparse import csc_matrix, csr_array

import symgrad as sg
from symgrad.differentiate.colouring import Compression, compress_hessian, compress_jacobian
from symgrad.differentiate.sparsity import dependencies, index_symbols
from symgrad.evaluate import bind_sizes, evaluate
from symgrad.expr import Expr

x, y, s = sg.symbol("x", "n"), sg.symbol("y", "n"), sg.symbol("s")
A, i, k = sg.symbol("A", (3, 4)), sg.symbol("i", "m", integer=True), sg.symbol("k", "n", integer=True)
RNG = np.random.default_rng(0)
ROSENBROCK = sg.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


# --- patterns --------------------------------------------------------------------------------------

N = 6
KNOWN = {"x": RNG.uniform(0.2, 0.9, N), "y": RNG.uniform(0.2, 0.9, N), "s": np.array(0.7), "A": RNG.uniform(0.2, 0.9, (3, 4)),
         "i": np.array([0, 3, -1, 3]), "k": RNG.integers(0, 3, N)}  # fmt: skip
BAND = np.tri(N, N, 1) - np.tri(N, N, -2)

EXACT: dict[str, Expr] = {
    "elementwise": sg.sin(x) * y + sg.exp(x / y), "broadcast": x[:, None] * A[0] + s, "scalar": sg.tanh(s) * s,
    "slices": x[1:] * x[:-1], "backwards": x[::-1] * x, "every other": sg.square(x[::2]), "matrix slices": A[1:, ::-2] * A[:2, :2],
    "transpose": sg.sin(A.T), "reshape": (A * A).reshape(4, 3)[1:], "broadcast_to": sg.broadcast_to(A[:, :1] * s, (2, 3, 4)),
    "pad": sg.pad(x * x, ((1, 2),)), "concatenate": sg.concatenate([x[1:], y * s, x]), "stack": sg.stack([x, y * y], axis=1),
    "diagonal": sg.diagonal(A[:, :3]) * A[0, :3], "embedded": sg.outer(x, x) * sg.eye(N), "gather": x[i] * 2, "gather matrix": A[:, i - 1],
    "gather pairs": A[[0, 2], [1, 3]], "sum": sg.sum(A * A, axis=0), "sum all": sg.sum(A) * x,
    "mean": sg.mean(A, axis=1, keepdims=True) + A,
    "prod": sg.prod(A, axis=1), "softmax": sg.softmax(A, axis=0), "logsumexp": sg.logsumexp(A, axis=1), "norm": sg.norm(A, axis=0),
    "cumsum": sg.cumsum(x * y), "cumsum of columns": sg.cumsum(A, axis=0), "var": sg.var(A, axis=1),
    "matmul": A @ A[0], "matmul of both": A @ A.T, "outer": sg.outer(x, y), "batched": sg.einsum("ij,ij->i", A, A + 1),
    "constant band": sg.constant(BAND) @ sg.sin(x), "constant band on both sides": sg.constant(BAND) @ sg.outer(x, y) @ sg.constant(BAND),
    "zeros": sg.constant(np.eye(N)[0]) * x + y, "where constant": sg.where(np.arange(N) > 2, x, y * y),
    "nothing": sg.floor(x) + sg.sign(y) + sg.stop_gradient(s), "divided zeros": sg.pad(x, ((1, 0),)) / (1 + sg.concatenate([y, s[None]])),
    "moved zeros": sg.sum(sg.pad(sg.outer(x[:3], y[:4]), ((0, 1), (0, 0))) + 0 * sg.pad(A, ((0, 1), (0, 0))), axis=1) * x[:4],
}  # fmt: skip
# Kinked ones depend on less at any one point than they may.
LARGER = {
    "max": sg.max(A, axis=1), "min": sg.min(A), "maximum": sg.maximum(x, y), "clip": sg.clip(x, s, y), "relu": sg.relu(x - 0.5) * s,
    "where": sg.where(x > 0.5, x, y), "where unknown": sg.where(k > 1, x, y), "unknown index": x[sg.argmax(x)] * y,
}  # fmt: skip


def pattern(expr: Expr) -> tuple[np.ndarray, np.ndarray]:
    """The pattern, and the derivatives at a point."""
    wrt = [e for e in expr.free_symbols if e.kind == "real"]
    given = {e: KNOWN[e.name] for e in expr.free_symbols}
    sizes = bind_sizes(given)
    found = dependencies([expr], wrt, sizes, {e: given[e] for e in index_symbols(expr)})
    blocks = [np.asarray(evaluate(sg.jacobian(expr, w), given, sizes=sizes)).reshape(found.shape[0], -1) for w in wrt]
    return found.toarray(), np.concatenate(blocks, axis=1)


@pytest.mark.parametrize("name", EXACT)
def test_patterns(name: str) -> None:
    found, derivatives = pattern(EXACT[name])
    np.testing.assert_array_equal(found, derivatives != 0)


@pytest.mark.parametrize("name", LARGER)
def test_patterns_are_what_may_depend(name: str) -> None:
    found, derivatives = pattern(LARGER[name])
    assert np.all(found >= (derivatives != 0)) and found.any()


def test_scattered_pattern() -> None:
    """The adjoint of a gather, alone and multiplied where nothing arrived."""
    f = sg.compile(sg.sum(sg.sin(sg.exp(x)[i])), wrt=x)
    H = f.hessian(KNOWN["x"], KNOWN["i"], sparse=True)
    assert H.nnz == 3 and H.indices.tolist() == [0, 3, 5]
    np.testing.assert_allclose(H.toarray(), f.hessian(KNOWN["x"], KNOWN["i"]))


def test_user_ops_in_patterns() -> None:
    doubled = sg.define_op("sparse_doubled", derivative=lambda g, y, x: g * 2 * sg.cos(2 * x), evaluate=lambda x: np.sin(2 * x))
    shifted = sg.define_op("sparse_shifted", derivative=lambda g, y, x: sg.pad(g, ((1, 0),)), evaluate=lambda x: x[1:],
                           lower=lambda x: x[1:], shape=lambda x: (x[0] - 1,))  # fmt: skip
    unknown = sg.define_op("sparse_unknown", derivative=lambda g, y, x: 2 * x * sg.flip(g, 0), evaluate=lambda x: (x * x)[::-1],
                           shape=lambda x: x)  # fmt: skip
    w = sg.symbol("w", 4)
    for op, nonzeros in ((doubled, 4), (shifted, 3), (unknown, 16)):
        assert dependencies([op(w)], [w], {}, {}).nnz == nonzeros


def test_linear_parts_have_no_second_derivative() -> None:
    f = sg.compile(sg.sum(3 * x - y) + x[0] * y[1] + sg.mean(x) * 4)
    H = f.hessian(np.ones(5), np.ones(5), sparse=True)
    assert [[H[a][b].nnz for b in "xy"] for a in "xy"] == [[0, 1], [1, 0]]
    assert H["x"]["y"][0, 1] == H["y"]["x"][1, 0] == 1.0


# --- colourings ------------------------------------------------------------------------------------


def recovered(found: Compression, matrix: np.ndarray) -> np.ndarray:
    products = (matrix.T if found.by_rows else matrix) @ (found.colour[:, None] == np.arange(found.colours))
    result = np.zeros_like(matrix)
    result[found.rows, found.columns] = products.T.reshape(-1)[found.source]
    return result


@pytest.mark.parametrize("density", [0.0, 0.05, 0.2, 0.5, 1.0])
def test_colourings_recover_every_entry(density: float) -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        m, n = rng.integers(0, 25, 2)
        J = (rng.random((m, n)) < density) * rng.integers(1, 100, (m, n))
        np.testing.assert_array_equal(recovered(compress_jacobian(csr_array(J != 0)), J), J)
        H = (rng.random((n, n)) < density / 2) * rng.integers(1, 100, (n, n))
        H = H + H.T
        np.testing.assert_array_equal(recovered(compress_hessian(csr_array(H != 0)), H), H)


def test_few_colours() -> None:
    n = 1000
    band = csr_array(np.tri(n, n, 2, bool) & ~np.tri(n, n, -3, bool))
    assert compress_jacobian(band).colours == compress_hessian(band).colours == 5
    arrow = np.eye(n, dtype=bool)
    arrow[0] = True
    assert compress_hessian(csr_array(arrow)).colours == 2  # made symmetric
    by_rows, by_columns = compress_jacobian(csr_array(arrow)), compress_jacobian(csr_array(arrow.T))
    assert by_rows.by_rows and not by_columns.by_rows and by_rows.colours == by_columns.colours == 2
    blocks = csr_array(np.kron(np.eye(n // 4), np.ones((4, 4))).astype(bool))
    assert compress_hessian(blocks).colours == compress_jacobian(blocks).colours == 4


# --- calls -----------------------------------------------------------------------------------------


def dense_blocks(nest: Any) -> list[Any]:
    parts = list(nest.values()) if isinstance(nest, dict) else list(nest) if isinstance(nest, tuple) else [nest]
    return [block for part in parts for block in (dense_blocks(part) if isinstance(part, (dict, tuple)) else [part])]


def assert_same(sparse: Any, dense: Any) -> None:
    """Two results of one structure agree."""
    pairs = list(zip(dense_blocks(sparse), dense_blocks(dense), strict=True))
    assert pairs
    for got, want in pairs:
        assert isinstance(got, csc_matrix) and got.has_sorted_indices
        got.check_format()
        np.testing.assert_allclose(got.toarray(), np.reshape(want, got.shape), rtol=1e-9, atol=1e-10)


def random_case(seed: int) -> tuple[Expr, Expr]:
    draw = random.Random(seed)
    scalar = grow(draw.randrange, 8)
    pool = [e for e in inputs().values() if e.kind == "real"]
    for _ in range(1 + draw.randrange(6)):
        new = _step(draw.randrange, pool, False)
        if new is not None and new.ndim <= 4:
            pool.append(new)
    return scalar, pool[-1]


def check_random(seed: int) -> None:
    scalar, tensor = random_case(seed)
    known = values(seed, 5)
    for expr, kind in ((scalar, "hessian"), (tensor, "jacobian")):
        given = {e.name: known[e.name] for e in expr.free_symbols}
        call = getattr(sg.compile(expr, cache=False), kind)
        assert_same(call(**given, sparse=True), call(**given))


@pytest.mark.parametrize("seed", range(6))
def test_random_expressions(seed: int) -> None:
    check_random(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 150))
def test_many_random_expressions(seed: int) -> None:
    check_random(seed)


def test_banded_hessian_of_changing_size() -> None:
    f = sg.compile(ROSENBROCK, wrt=x)
    for n in (5, 40, 2, 1, 5, *range(3, 15), 5):
        at = RNG.normal(size=n)
        H = f.hessian(at, sparse=True)
        assert_same(H, f.hessian(at))
        assert H.nnz == (3 * n - 2 if n > 1 else 0)
    assert len(f._calls["hessian"]._sparse._templates) <= 4


def test_the_dense_one_is_not_compiled_for_it() -> None:
    f = sg.compile(ROSENBROCK, wrt=x)
    H = f.hessian(np.zeros(20_000), sparse=True)
    assert H.shape == (20_000, 20_000) and H.nnz == 59_998
    assert "hessian" not in f.timings.parts and any("sparse" in name for name in f.timings.parts)


def test_kinds_of_products() -> None:
    """Derivatives along ones by the ways in which x is read; where they do not tell all apart, products with colours."""
    X = sg.symbol("X", ("n", 3))
    residuals = sg.stack([x[1:] - x[:-1] ** 2, 1 - x[:-1]], axis=1)
    cases = (
        (residuals, "jacobian", x, "sparse jacobian"), (sg.softmax(X), "jacobian", X, "sparse jacobian by columns"),
        (sg.concatenate([sg.sum(x * x)[None], 3 * x[:2]]), "jacobian", x, "sparse jacobian by rows"),
        (ROSENBROCK, "hessian", x, "sparse hessian"), (sg.sum(sg.softmax(X) ** 2), "hessian", X, "sparse hessian by columns"),
        (sg.sum((x[1:] - x[0]) ** 4), "hessian", x, "sparse hessian by columns"),
    )  # fmt: skip
    for expr, kind, wrt, way in cases:
        f = sg.compile(expr, wrt=wrt)
        call, at = getattr(f, kind), RNG.normal(size=12).reshape(-1, *wrt.shape[1:])
        result = call(at, sparse=True)
        assert_same(result, call(at))
        assert list(f._calls[kind]._sparse.kernels) == [way]
    assert sg.compile(residuals, wrt=x).jacobian(np.ones(12), sparse=True).shape == (22, 12)


def test_many_terms_an_entry() -> None:
    """More than are added up one after the other: a vertex that all edges meet in."""
    ends = sg.symbol("p", "m", integer=True), sg.symbol("q", "m", integer=True)
    f = sg.compile(sg.sum(sg.sin(x[ends[0]] - x[ends[1]] * x[ends[0]])), inputs=[x, *ends], wrt=x)
    at = RNG.normal(size=40), np.repeat([3, 7], 39), np.concatenate([np.delete(np.arange(40), 3), np.delete(np.arange(40), 7)])
    assert_same(f.hessian(*at, sparse=True), f.hessian(*at))
    assert list(f._calls["hessian"]._sparse.kernels) == ["sparse hessian"]


def test_very_many_ways_of_reading() -> None:
    f = sg.compile(sum(sg.sin(x[j] * x[j + 1]) for j in range(30)), wrt=x)
    at = RNG.normal(size=31)
    assert_same(f.hessian(at, sparse=True), f.hessian(at))
    assert list(f._calls["hessian"]._sparse.kernels) == ["sparse hessian by columns"]


def test_structures() -> None:
    w = sg.symbol("w", (2, 3))
    outputs = {"a": sg.sin(w[0]) * s, "b": (w @ w.T, sg.sum(x * s))}
    f = sg.compile(outputs, inputs=[w, s, x])
    at = (RNG.normal(size=(2, 3)), 0.3, RNG.normal(size=4))
    J = f.jacobian(*at, sparse=True)
    assert list(J) == ["a", "b"] and list(J["b"][0]) == ["w", "s", "x"]
    assert J["a"]["w"].shape == (3, 6) and J["b"][0]["w"].shape == (4, 6) and J["b"][1]["x"].shape == (1, 4) and J["a"]["x"].nnz == 0
    assert_same(J, f.jacobian(*at))
    scalar = sg.compile(sg.sum(sg.sin(w) * s) + sg.sum(x**3), inputs=[w, s, x], wrt=[x, w, s])
    H = scalar.hessian(*at, sparse=True)
    assert isinstance(H, tuple) and H[1][1].shape == (6, 6) and H[1][2].shape == (6, 1) and H[2][2].nnz == 0
    assert_same(H, scalar.hessian(*at))


def test_wrt_an_inner_node() -> None:
    h = sg.tanh(x[1:] * x[:-1])
    f = sg.compile(sg.sum(h**3) + sg.sum(x), wrt=[h, x])
    at = RNG.normal(size=6)
    assert_same(f.hessian(at, sparse=True), f.hessian(at))
    g = sg.compile(h**3, wrt=h)
    assert_same(g.jacobian(at, sparse=True), g.jacobian(at))


def test_scalars_and_empty_ones() -> None:
    f = sg.compile(sg.sin(s) * s, wrt=s)
    assert_same(f.hessian(0.3, sparse=True), f.hessian(0.3))
    assert_same(f.jacobian(s=0.3, sparse=True), f.jacobian(0.3))
    with pytest.raises(sg.ShapeError, match="one point at a time"):
        f.hessian(np.zeros(3), sparse=True)
    g = sg.compile(sg.sum(x**3), wrt=x)
    assert g.hessian(np.zeros(0), sparse=True).shape == (0, 0)
    assert sg.compile(x * 2, wrt=x).jacobian(np.zeros(0), sparse=True).shape == (0, 0)
    assert sg.compile(k * 2 + sg.floor(x), wrt=x).jacobian(np.zeros(3, int), np.zeros(3), sparse=True).nnz == 0


def test_indices_are_part_of_the_pattern() -> None:
    f = sg.compile(sg.sum(x[i] ** 2 * x[0]), wrt=x, inputs=[x, i])
    at = RNG.normal(size=5)
    for places in ([1, 2], [2, 1], [4, 4], [-1, 0], [1, 2, 3], [1, 2]):
        H = f.hessian(at, np.array(places), sparse=True)
        assert_same(H, f.hessian(at, np.array(places)))
        assert H.nnz <= 3 * len(places) + 1
    for _ in range(2):
        with pytest.raises(IndexError):
            f.hessian(at, np.array([1, 5]), sparse=True)


def test_only_what_depends_on_a_nan_is_nan() -> None:
    f = sg.compile(ROSENBROCK, wrt=x)
    at = RNG.normal(size=30)
    clean = f.hessian(at, sparse=True).tocoo()
    for value in (np.nan, np.inf):
        at[10] = value
        H = f.hessian(at, sparse=True).tocoo()
        bad = ~np.isfinite(H.data)
        assert sorted(zip(H.row[bad].tolist(), H.col[bad].tolist())) == [(9, 9), (10, 10), (10, 11), (11, 10)]
        np.testing.assert_array_equal(H.data[~bad], clean.data[~bad])


def test_nan_with_colours() -> None:
    """A row of the pattern that has a NaN may become NaN: its products do. Nothing else."""
    X = sg.symbol("X", ("n", 3))
    f = sg.compile(sg.sum(sg.softmax(X) ** 2), wrt=X)
    at = RNG.normal(size=(6, 3))
    clean = f.hessian(at, sparse=True).toarray()
    at[2, 1] = np.nan
    H = f.hessian(at, sparse=True).toarray()
    assert np.isnan(H[6:9, 6:9]).all()
    np.testing.assert_array_equal(np.delete(np.delete(H, slice(6, 9), 0), slice(6, 9), 1),
                                  np.delete(np.delete(clean, slice(6, 9), 0), slice(6, 9), 1))  # fmt: skip


def test_float32() -> None:
    f = sg.compile(ROSENBROCK, wrt=x, dtype="float32")
    at = RNG.normal(size=9).astype(np.float32)
    H = f.hessian(at, sparse=True)
    assert H.dtype == np.float32
    np.testing.assert_allclose(H.toarray(), f.hessian(at), rtol=1e-5, atol=1e-3)
    assert sg.compile(3 * x, wrt=x, dtype="float32").jacobian(at, sparse=True).dtype == np.float32


def test_arguments_are_converted_and_checked() -> None:
    f = sg.compile(sg.sum(x * y * y), inputs=[x, y], wrt=[x, y])
    at = (RNG.normal(size=6), RNG.normal(size=6))
    want = f.hessian(*at)
    assert_same(f.hessian(*[a.tolist() for a in at], sparse=True), want)
    assert_same(f.hessian(at[0], y=at[1], sparse=True), want)
    assert_same(f.hessian(np.repeat(at[0], 2)[::2], at[1], sparse=True), want)
    for wrong in ((at[0], at[1][:5]), (at[0][None], at[1]), (at[0], 1.0)):
        for _ in range(2):
            with pytest.raises(sg.ShapeError, match=r"f\.hessian\(x: \(n,\), y: \(n,\)\)"):
                f.hessian(*wrong, sparse=True)
    with pytest.raises(TypeError, match="missing 'y'"):
        f.hessian(at[0], sparse=True)
    with pytest.raises(TypeError, match="real numbers"):
        f.hessian(at[0] + 1j, at[1], sparse=True)
    for value in (None, 1, "yes"):
        with pytest.raises(TypeError, match="True or False"):
            f.hessian(*at, sparse=value)
    for call in (f, f.grad, f.value_and_grad):
        with pytest.raises(TypeError, match=r"f\.jacobian and f\.hessian"):
            call(*at, sparse=True)
    with pytest.raises(TypeError, match="out"):
        f.hessian(*at, sparse=True, out=want)
    with pytest.raises(sg.ShapeError, match=r"f\.jacobian"):
        sg.compile(x * y).hessian(*at, sparse=True)


def test_shapes_that_only_a_call_can_check() -> None:
    f = sg.compile(sg.sum((x - sg.symbol("z", "m")) ** 2), wrt=x)
    for _ in range(2):
        with pytest.raises(sg.ShapeError, match="n == m"):
            f.hessian(np.zeros(3), np.zeros(4), sparse=True)
    assert f.hessian(np.zeros(3), np.zeros(3), sparse=True).nnz == 3


def test_results_belong_to_the_caller() -> None:
    f = sg.compile(ROSENBROCK, wrt=x)
    at = RNG.normal(size=7)
    first = f.hessian(at, sparse=True)
    want = first.toarray()
    first.data[:] = 0
    first.eliminate_zeros()
    first.indices[:] = 0
    np.testing.assert_array_equal(f.hessian(at, sparse=True).toarray(), want)


def test_pickled_copied_and_from_threads() -> None:
    f = sg.compile(ROSENBROCK, wrt=x)
    points = [RNG.normal(size=n) for n in (4, 9, 30, 4, 17) * 8]
    want = [f.hessian(at) for at in points]
    g = pickle.loads(pickle.dumps(f))
    call = pickle.loads(pickle.dumps(f.hessian))
    with ThreadPoolExecutor(8) as pool:
        for got, dense in zip(pool.map(lambda at: g.hessian(at, sparse=True), points), want):
            assert_same(got, dense)
    assert_same(call(points[0], sparse=True), want[0])


def test_from_the_disk_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from symgrad import pipeline
    from symgrad.run import cache

    folder = cache.Cache(tmp_path)
    monkeypatch.setattr(cache, "default", lambda: folder)
    monkeypatch.setattr(cache, "source_is_what_runs", lambda: True)
    monkeypatch.setattr(pipeline, "_loaded", {})
    at = RNG.normal(size=8)
    want = sg.compile(ROSENBROCK, wrt=x).hessian(at, sparse=True)
    monkeypatch.setattr(pipeline, "_loaded", {})
    again = sg.compile(ROSENBROCK, wrt=x)
    np.testing.assert_array_equal(again.hessian(at, sparse=True).toarray(), want.toarray())
    assert again.timings.cached
