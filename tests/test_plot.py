"""Plots: what is drawn, how curves are sampled (poles, jumps, kinks, gaps), planes, and wrong arguments."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import symgrad as sg
from symgrad.show.sampling import sample, window
from symgrad.show.themes import DARK

pytest.importorskip("matplotlib", reason="plots need matplotlib")

x, y, a = sg.symbols("x y a")


def lines(picture) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Label → points of each curve."""
    return {ln.get_label(): (ln.get_xdata(), ln.get_ydata()) for ln in picture.axes[0].get_lines() if not ln.get_label().startswith("_")}


# --- curves --------------------------------------------------------------------------------------------


def test_a_curve_and_its_derivative() -> None:
    drawn = lines(sg.plot(x**3 - 3 * x, x, (-2, 3)))
    assert list(drawn) == ["f = x³ − 3·x", "f′ = 3·x² − 3"]
    px, py = drawn["f = x³ − 3·x"]
    assert (px[0], px[-1]) == (-2, 3)
    np.testing.assert_allclose(py, px**3 - 3 * px, atol=1e-12)
    px, py = drawn["f′ = 3·x² − 3"]
    np.testing.assert_allclose(py, 3 * px**2 - 3, atol=1e-12)


def test_a_tangent_does_not_look_like_the_derivative() -> None:
    picture = sg.plot(sg.sin(x), x, (-3, 3), derivative=2, tangent_at=[0.5, 1])
    drawn = [line for line in picture.axes[0].get_lines() if not line.get_label().startswith("_")]
    assert len(drawn) == 5 and len({line.get_color() for line in drawn}) == 5


def test_heights_of_a_plane_are_round_numbers() -> None:
    bar = sg.plot(sg.sin(x) * sg.cos(y), x, (-3, 3), y, (-3, 3)).figure.axes[1]
    assert 0.0 in bar.get_yticks() and all(abs(10 * t - round(10 * t)) < 1e-9 for t in bar.get_yticks())


def test_choices_between_numbers_are_written_without_points() -> None:
    assert "relu′(x) = where(x > 0, 1, 0)" in lines(sg.plot(sg.relu, derivative=True))


def test_tangents() -> None:
    picture = sg.plot(3 * x**2 - 4 * x + 5, x, (-5, 5), tangent_at=[3, 0])
    assert list(lines(picture)) == ["3·x² − 4·x + 5", "tangent at x = 3, slope 14", "tangent at x = 0, slope −4"]
    points = [line for line in picture.axes[0].get_lines() if line.get_label() == "_point"]
    assert [(p.get_xdata()[0], p.get_ydata()[0]) for p in points] == [(3, 20), (0, 5)]
    tangent = next(line for line in picture.axes[0].get_lines() if line.get_label().startswith("tangent"))
    assert tangent.get_slope() == 14


def test_derivatives_by_number() -> None:
    assert list(lines(sg.plot(sg.sin(x), derivative=3))) == ["f = sin(x)", "f′ = cos(x)", "f″ = −sin(x)", "f‴ = −cos(x)"]
    assert list(lines(sg.plot(sg.sin(x), derivative=False))) == ["sin(x)"]
    assert sg.plot(sg.sin(x), derivative=False).axes[0].get_title(loc="left") == "sin(x)"
    assert list(lines(sg.plot([sg.sin(x), x**2], derivative=True))) == ["f = sin(x)", "f′ = cos(x)", "g = x²", "g′ = 2·x"]


def test_several_curves_named_curves_and_functions() -> None:
    assert list(lines(sg.plot([sg.sin(x), x**2], x))) == ["sin(x)", "x²"]
    assert list(lines(sg.plot({"alpha": sg.sin(x), "beta_1": x**2}, x))) == ["α = sin(x)", "β₁ = x²"]
    assert list(lines(sg.plot([sg.gelu, sg.relu]))) == ["gelu(x)", "relu(x)"]
    assert next(iter(lines(sg.plot(sg.gelu)))) == "gelu(x)" and len(lines(sg.plot(sg.gelu))) == 2
    assert list(lines(sg.plot(sg.tanh, y, (0, 1), derivative=False))) == ["tanh(y)"]
    assert list(lines(sg.plot(sg.compile(sg.sin(x)), derivative=False))) == ["sin(x)"]


def test_sympy_expressions_and_variables() -> None:
    import sympy

    s = sympy.Symbol("s")
    for picture in (sg.plot(sympy.sin(s)), sg.plot(sympy.sin(s), s, (-5, 5)), sg.plot([sympy.sin(s)], (s, -5, 5), derivative=True)):
        assert list(lines(picture)) == ["f = sin(s)", "f′ = cos(s)"]


def test_conditions_are_steps() -> None:
    ((px, py),) = lines(sg.plot(x > 1, x)).values()
    assert set(py[px < 0.99]) == {0.0} and set(py[px > 1.01]) == {1.0} and np.isnan(py).any()


def test_other_symbols_by_name_and_arrays() -> None:
    ((px, py),) = lines(sg.plot(a * x, x, (0, 1), a=3.0, derivative=False)).values()
    np.testing.assert_allclose(py, 3 * px)
    w, X, t = sg.symbol("w"), sg.symbol("X", "n"), sg.symbol("t", "n")
    data = np.array([1.0, 2.0, 3.0])
    ((pw, loss),) = lines(sg.plot(sg.nn.mse(w * X, t), w, (0, 4), values={"X": data, t: 2 * data}, derivative=False)).values()
    np.testing.assert_allclose(loss, (pw - 2) ** 2 * 14 / 3, atol=1e-12)
    title = sg.symbol("title")
    assert lines(sg.plot(title * x, x, values={"title": 2.0}, derivative=False))


def test_a_vector_has_a_curve_for_each_entry() -> None:
    drawn = lines(sg.plot(sg.softmax(sg.stack([x, 1.0, -x])), x, derivative=True))
    assert list(drawn) == ["f[0]", "f[1]", "f[2]", "f′[0]", "f′[1]", "f′[2]"]
    total = sum(np.interp(0.5, *drawn[f"f[{k}]"]) for k in range(3))
    assert total == pytest.approx(1, abs=1e-3)


def test_a_symbol_that_is_assumed_positive() -> None:
    p = sg.symbol("p", positive=True)
    assert lines(sg.plot(sg.sqrt(p**2), "p", (0.5, 2)))


# --- sampling ------------------------------------------------------------------------------------------


def test_no_line_where_there_is_no_value() -> None:
    curve = sample(np.log, -5, 5)
    assert np.isnan(curve.y[curve.x < 0]).all() and np.isfinite(curve.y[curve.x > 0.01]).all()
    assert curve.x[np.isfinite(curve.y)].min() < 1e-4  # it reaches the border


def test_poles_have_gaps_and_are_cut_off() -> None:
    curve = sample(np.tan, -5, 5)
    for pole in (-1.5, -0.5, 0.5, 1.5):
        k = np.searchsorted(curve.x, pole * np.pi)
        assert np.isnan(curve.y[k - 2 : k + 3]).any()
    assert curve.cut == (True, True) and 3 < curve.high < 30 and -30 < curve.low < -3
    assert sample(lambda t: 1 / t**2, -5, 5).cut == (False, True)
    assert sample(lambda t: 1 / np.sqrt(np.abs(t)), -5, 5).cut == (False, True)


def test_a_logarithm_is_shown_as_far_as_it_can_be_seen() -> None:
    assert -7 < sample(np.log, -5, 5).low < -4


def test_what_is_steep_or_narrow_is_not_cut_off() -> None:
    for function, top in ((np.exp, np.exp(5)), (lambda t: np.exp(-4000 * (t - 0.1234) ** 2), 1.0), (lambda t: t**10, 5.0**10)):
        curve = sample(function, -5, 5)
        assert curve.cut == (False, False) and curve.high == pytest.approx(top, rel=1e-3)
        assert np.isfinite(curve.y).all()


def test_jumps_have_gaps_and_kinks_are_sharp() -> None:
    curve = sample(np.floor, -2.5, 2.5)
    assert np.isnan(curve.y).sum() == 5
    kink = 0.1234567
    curve = sample(lambda t: np.abs(t - kink), -1, 1)
    assert np.isfinite(curve.y).all() and np.nanmin(curve.y) < 1e-3
    steep = sample(lambda t: np.tanh(2000 * t), -5, 5)
    assert np.isfinite(steep.y).all()  # steep, and yet one line


def test_sampling_ends_and_is_deterministic() -> None:
    wild = sample(lambda t: np.sin(1 / t), -1, 1)
    assert len(wild.x) <= 16_000
    noise = np.random.default_rng(0).normal(size=10**6)
    rough = sample(lambda t: noise[(np.abs(t) * 1e5).astype(int) % 10**6], -1, 1)
    assert len(rough.x) <= 16_000
    again = sample(lambda t: np.sin(1 / t), -1, 1)
    np.testing.assert_array_equal(wild.y, again.y)


def test_nothing_finite_and_constants() -> None:
    nothing = sample(lambda t: np.full_like(t, np.nan), -1, 1)
    assert nothing.low is None and window([nothing]) is None
    assert [t.get_text() for t in sg.plot(sg.log(-(x**2) - 1), x).axes[0].texts] == ["no finite value in this range"]
    low, high = window([sample(lambda t: np.full_like(t, 3.0), -1, 1)])
    assert low < 3 < high
    assert window([sample(lambda t: 0 * t, 0, 1)]) == (-0.5, 0.5)


def test_no_oscillation_is_in_step_with_the_points() -> None:
    for periods in (1, 40, 80, 200, 400, 401):
        curve = sample(lambda t, k=periods: np.sin(2 * np.pi * k * t), 0, 1)
        assert curve.low == pytest.approx(-1, abs=0.02) and curve.high == pytest.approx(1, abs=0.02)


def test_a_derivative_is_looked_at_where_its_curve_bends() -> None:
    narrow = sg.exp(-(((x - 1) / 1e-3) ** 2))
    low, high = sg.plot(narrow).axes[1].get_ylim()
    assert low < -800 and high > 800  # at most sqrt(2/e)/1e-3 = 858


def test_a_derivatives_poles_at_the_ends_of_the_domain() -> None:
    (ax,) = sg.plot(sg.asin(x), x, (-1, 1)).axes
    assert ax.get_ylim()[1] < 4


def test_dense_curves_have_thin_lines() -> None:
    drawn = [sg.plot(sg.sin(k * x), derivative=False).axes[0].get_lines() for k in (3, 300)]
    assert [line.get_linewidth() for some in drawn for line in some if line.get_label().startswith("sin")] == [2.0, 0.7]


def test_a_derivative_of_another_magnitude_has_an_axis_of_its_own() -> None:
    for e in (sg.sin(200 * x), sg.sigmoid(500 * x), 1e-9 * sg.cosh(x / 1000), x**7, 1e9 + sg.tanh(x)):
        left, right = sg.plot(e, x, (-50, 50)).axes
        assert len(right.get_lines()) == 1 and right.get_ylabel() == "f′  →"
        assert [t.get_text()[:2] for t in left.get_legend().get_texts()] == ["f ", "f′"]
        for ax in (left, right):
            (line,) = [ln for ln in ax.get_lines() if not ln.get_label().startswith("_")]
            low, high = ax.get_ylim()
            assert np.nanmax(line.get_ydata()) - np.nanmin(line.get_ydata()) > 0.3 * (high - low)
    assert len(sg.plot(sg.sin(3 * x)).axes) == len(sg.plot(sg.floor(x)).axes) == len(sg.plot(2 * x).axes) == 1
    assert len(sg.plot([sg.exp(x), sg.sin(x)]).axes) == 1  # what is to be compared has one scale


def test_the_legend_above_two_scales_hides_none_of_their_powers() -> None:
    picture = sg.plot(1e-7 * sg.sin(30 * x), x, (-1, 1))
    picture.figure.draw_without_rendering()
    legend = picture.axes[0].get_legend().get_window_extent()
    offsets = [ax.yaxis.get_offset_text() for ax in picture.axes]
    assert all("10^" in t.get_text() and not t.get_window_extent().overlaps(legend) for t in offsets)


def test_zero_is_at_one_height_on_both_axes() -> None:
    left, right = sg.plot(sg.exp(-(1000 * x**2)), x).axes
    shares = [-low / (high - low) for low, high in (left.get_ylim(), right.get_ylim())]
    assert shares[0] == pytest.approx(shares[1])


def test_both_sides_of_a_derivative_with_poles_are_shown() -> None:
    low, high = sg.plot(sg.sqrt(1 - x**2), x, (-2, 2)).axes[0].get_ylim()
    assert -0.5 < low < -0.2 and 1.2 < high < 1.5


def test_given_numbers_stand_below() -> None:
    assert sg.plot(a * sg.sin(x * y), x, (0, 1), a=2, y=-1e-7).axes[0].get_xlabel() == "x   (a = 2, y = −1e−7)"
    assert sg.plot(x * sg.sum(sg.symbol("v", 2)), x, v=[1.0, 2.0]).axes[0].get_xlabel() == "x"
    assert sg.plot(a * x * y, [x, y], a=2).axes[0].get_xlabel() == "x   (a = 2)"


def test_large_numbers_at_the_axes_are_powers_in_the_colour_of_the_theme() -> None:
    picture = sg.plot(1e9 * x, theme="dark", derivative=False)
    picture.figure.draw_without_rendering()
    offset = picture.axes[0].yaxis.get_offset_text()
    assert "10^" in offset.get_text() and offset.get_color() == DARK.ink


def test_names_of_curves_of_gradients_and_functions_with_parameters() -> None:
    assert list(lines(sg.plot(sg.compile(x**3).formulas, derivative=False))) == ["dL/dx = 3·x²"]
    assert next(iter(lines(sg.plot(sg.leaky_relu)))) == "leaky_relu(x)"
    assert list(lines(sg.plot(2 * x + 1)))[1] == "f′ = 2"


def test_a_derivatives_pole_does_not_squash_the_curve() -> None:
    low, high = sg.plot(sg.tan(x), x, (-5, 5)).axes[0].get_ylim()
    assert -30 < low and high < 30


# --- planes --------------------------------------------------------------------------------------------


def field(picture) -> np.ndarray:
    from matplotlib.quiver import Quiver

    (arrows,) = [c for c in picture.axes[0].collections if isinstance(c, Quiver)]
    return np.stack([arrows.X, arrows.Y, arrows.U, arrows.V])


def test_a_plane_has_contours_and_arrows_uphill() -> None:
    picture = sg.plot((1 - x) ** 2 + 100 * (y - x**2) ** 2, (x, (-2, 2)), (y, (-1, 3)))
    px, py, u, v = field(picture)
    gx, gy = -2 * (1 - px) - 400 * px * (py - px**2), 200 * (py - px**2)
    cosine = (u * gx + v * gy) / np.hypot(u, v) / np.hypot(gx, gy)
    assert cosine.min() > 1 - 1e-9 and len(px) == 19**2
    assert picture.axes[0].get_xlim() == (-2, 2) and picture.axes[0].get_ylim() == (-1, 3)
    assert picture.axes[0].get_title(loc="left") == "(1 − x)² + 100·(y − x²)²"
    assert len(picture.axes) == 2  # the bar of heights


def test_every_way_to_write_the_variables() -> None:
    for variables in ((x, (-1, 2), y, (0, 1)), ((x, (-1, 2)), (y, (0, 1))), ((x, -1, 2), ("y", 0, 1)), ("x", (-1, 2), y, (0, 1))):
        ax = sg.plot(x * y, *variables).axes[0]
        assert ax.get_xlim() == (-1, 2) and ax.get_ylim() == (0, 1)
    assert sg.plot(x * y).axes[0].get_xlim() == (-5, 5)
    for variables in (([x, y], [(-1, 2), (0, 1)]), ({x: (-1, 2), "y": (0, 1)},), ((-1, 2), (0, 1)), ([x, y], (-1, 2), (0, 1))):
        ax = sg.plot(x * y, *variables).axes[0]
        assert ax.get_xlim() == (-1, 2) and ax.get_ylim() == (0, 1)
    ax = sg.plot(x * y, [y, x], (-3, 3)).axes[0]
    assert ax.get_xlabel() == "y" and ax.get_xlim() == ax.get_ylim() == (-3, 3)
    assert sg.plot(a * x, (0, 2), a=3).axes[0].get_xlim() == (0, 2)


def test_no_arrows_where_there_is_no_value() -> None:
    px, py, _, _ = field(sg.plot(sg.log(x * y)))
    assert (px * py > 0).all()


def test_planes_of_all_kinds() -> None:
    assert not [c for c in sg.plot(x * y, derivative=False).axes[0].collections if type(c).__name__ == "Quiver"]
    sg.plot(0 * x * y + 2.0, x, y)  # flat
    sg.plot(1 / (x**2 + y**2), x, y)  # a pole
    sg.plot(x * y * 1e-3, (x, (0, 100)), (y, (0, 1)))  # sides of different lengths
    sg.plot(sg.where(x > 0, y, 0.0), x, y)
    heights = sg.plot((1 - x) ** 2 + 100 * (y - x**2) ** 2, x, (-2, 2), y, (-1, 3)).axes[1].get_yticklabels()
    assert len(heights) >= 6 and all(len(t.get_text().strip("0").replace(".", "")) <= 3 for t in heights)
    assert [t.get_text() for t in sg.plot(sg.sqrt(-1 - x**2 - y**2), x, y).axes[0].texts] == ["no finite value in this range"]


# --- pictures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_files_and_notebooks(tmp_path: Path, theme: str) -> None:
    picture = sg.plot(sg.sin(x), theme=theme, title="A sine")
    for name, head in (("p.png", b"\x89PNG"), ("p.pdf", b"%PDF"), ("p.svg", b"<?xml")):
        picture.save(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(head)
    ET.parse(tmp_path / "p.svg")
    data, size = picture._repr_png_()
    assert data.startswith(b"\x89PNG") and size == {"width": 666, "height": 416}
    assert repr(picture) == "Picture(6.4 x 4 inches, 1 axes): .save('picture.png') writes it"
    assert picture.axes[0].get_title(loc="left") == "A sine"


def test_own_axes_and_no_global_state() -> None:
    from matplotlib.figure import Figure

    own = Figure().subplots()
    assert sg.plot(sg.sin(x), ax=own).figure is own.figure and len(own.get_lines()) >= 2
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(sg.MissingDependencyError, match=r'plots need matplotlib: pip install "symgrad\[viz\]"'):
        sg.plot(x)


@pytest.mark.parametrize("wrong, kind, message", [
    (lambda: sg.plot(a * x * y), TypeError, "which variable.*a, x, y"),
    (lambda: sg.plot(sg.constant(2)), TypeError, "which variable.*no symbols"),
    (lambda: sg.plot(sg.symbol("v", 3).sum()), TypeError, r"Without a value are v \(3,\): name one or two that are numbers"),
    (lambda: sg.plot(a * x, x), TypeError, "no value for a"),
    (lambda: sg.plot(a * x, x, b=1), TypeError, "'b' is not a symbol of the expression; its symbols are a, x"),
    (lambda: sg.plot(x, x, values={"x": 1}), TypeError, "x is drawn over a range and has a value, too"),
    (lambda: sg.plot(x, 3), TypeError, "3 is neither a variable nor the range"),
    (lambda: sg.plot(x, x, -1, 1), TypeError, r"-1 is neither a variable nor the range of one; write sg.plot\(expr, x, \(-5, 5\)\)"),
    (lambda: sg.plot(x, x, (1, 2), (3, 4)), TypeError, "2 ranges for x"),
    (lambda: sg.plot(x * y, [x, y], [(1, 2), (3, 4), (5, 6)]), TypeError, "3 ranges for x, y"),
    (lambda: sg.plot(x, x, np.linspace(0, 1)), TypeError, r"two numbers, as in \(-5, 5\), not an array of shape \(50,\)$"),
    (lambda: sg.plot(sg.tanh, sg.gelu), TypeError, "the function gelu is neither"),
    (lambda: sg.plot(x**2, x=(-3, 3)), TypeError, r"x is a number, \(-3, 3\) is none; a range stands behind its variable"),
    (lambda: sg.plot(x**2, y), TypeError, "y does not occur in the expression; its symbols are x"),
    (lambda: sg.plot(x, tangent_at="3a"), TypeError, "tangent_at is a number or several, not '3a'"),
    (lambda: sg.plot(x, x, (0, 1), tangent_at=9), ValueError, "no tangent to see at x = 9: what is drawn goes from 0 to 1"),
    (lambda: sg.plot(x, ax=3), TypeError, "ax is one of matplotlib's axes.*not 3"),
    (lambda: sg.plot(x, values=[1]), TypeError, r"values is a dict.*not \[1\]"),
    (lambda: sg.plot(sg.at(x**2, x=2.0)), TypeError, r"one place of one: sg.plot\(point.expr"),
    (lambda: sg.plot(x, x, (1, 2, 3)), TypeError, "a range is two numbers"),
    (lambda: sg.plot(x, x, (2, 1)), ValueError, "from a smaller to a larger"),
    (lambda: sg.plot(x, x, (0, float("inf"))), ValueError, "from a smaller to a larger"),
    (lambda: sg.plot(x**2, x**2), TypeError, "a variable is a symbol"),
    (lambda: sg.plot(sg.symbol("v", 3).sum(), "v"), sg.ShapeError, "v is to be a real number"),
    (lambda: sg.plot(x * sg.symbol("v", "n"), x, v=[1.0]), sg.ShapeError, r"shape \(n,\)"),
    (lambda: sg.plot(sg.stack([x, y]), x, y), sg.ShapeError, "over a plane"),
    (lambda: sg.plot([x * y, x], x, y), ValueError, "one expression of two variables"),
    (lambda: sg.plot(x * y, x, y, tangent_at=1), ValueError, "tangent"),
    (lambda: sg.plot(a * x * y, x, y, a), TypeError, "not 3"),
    (lambda: sg.plot(1 / x, tangent_at=0), ValueError, "no tangent at 0"),
    (lambda: sg.plot(x, derivative=7), ValueError, "up to 3, not 7"),
    (lambda: sg.plot(x > 0, x, derivative=1), TypeError, "boolean values have no derivative"),
    (lambda: sg.plot(sg.symbol("k", integer=True)), TypeError, "which variable.*k"),
    (lambda: sg.plot(sg.symbol("k", integer=True), "k"), sg.ShapeError, "k is to be a real number, it is integer"),
    (lambda: sg.plot("x**2"), TypeError, r"sg\.parse\('x\*\*2'\)"),
    (lambda: sg.plot([]), ValueError, "no expression"),
    (lambda: sg.plot(x, theme="blue"), ValueError, "not 'blue'"),
    (lambda: sg.plot(sg.stack([x, x]), tangent_at=0), sg.ShapeError, "take an entry"),
])  # fmt: skip
def test_wrong_arguments(wrong, kind, message) -> None:
    with pytest.raises(kind, match=message):
        wrong()


# --- decision boundaries -------------------------------------------------------------------------------

POINTS = np.random.default_rng(0).normal(size=(60, 2))
LABELS = np.where(POINTS[:, 0] * POINTS[:, 1] > 0, 1, -1)
X = sg.symbol("x", ("n", 2))
w = sg.symbol("w", 2)


def test_models_of_every_kind() -> None:
    expr = X @ w
    parameters = {"w": np.array([1.0, -1.0]), "unused": 3}
    for model, params in ((expr, parameters), (expr[:, None], {w: parameters["w"]}), (sg.compile(expr), parameters),
                          (lambda p: p @ parameters["w"], None)):
        ax = sg.plot_decision_boundary(model, POINTS, LABELS, params, names=("u", "v")).axes[0]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("u", "v")
        assert [t.get_text() for t in ax.get_legend().get_texts()] == ["-1", "1"]


def test_three_classes_test_points_and_names() -> None:
    labels = np.array(["a", "b", "c"])[np.arange(60) % 3]
    model = lambda p: np.stack([p[:, 0], p[:, 1], -p[:, 0]], axis=1)  # noqa: E731
    test, names = (POINTS + 1, labels), ["A", "B", "C"]
    picture = sg.plot_decision_boundary(model, POINTS, labels, test=test, theme="dark", title="three", classes=names)
    assert [t.get_text() for t in picture.axes[0].get_legend().get_texts()] == ["A", "B", "C"]
    assert picture.axes[0].get_title(loc="left") == "three"


def test_a_model_without_a_boundary_in_sight() -> None:
    sg.plot_decision_boundary(lambda p: np.full(len(p), 7.0), POINTS, LABELS)


@pytest.mark.parametrize("arguments, kind, message", [
    ((X @ w, POINTS, LABELS), TypeError, "Without a value are x, w"),
    ((X @ w, POINTS, LABELS, {"w": [1.0, 2.0], "x": POINTS}), TypeError, "Without a value are none"),
    ((X @ w, np.ones((60, 3)), LABELS, {"w": [1.0, 2.0]}), sg.ShapeError, r"points \(n, 2\) or \(n, 1\) with labels \(n,\), not \(60, 3\)"),
    ((X @ w, [["a", "b"]], [1], {"w": [1.0, 2.0]}), TypeError, "that are numbers"),
    ((X @ w, POINTS * np.nan, LABELS, {"w": [1.0, 2.0]}), ValueError, "60 of 60 points are not finite"),
    ((X @ w, POINTS, POINTS[:, 0], {"w": [1.0, 2.0]}), ValueError, "60 different real numbers: a regression's prediction"),
    ((X @ w, POINTS, LABELS, [1.0]), TypeError, "params is a dict, name → array, as fit.params is, not list"),
    (("x", POINTS, LABELS), TypeError, r"an expression of the points, as net\(x\) is.*not str"),
    ((X @ w, POINTS, LABELS[:-1], {"w": [1.0, 2.0]}), sg.ShapeError, r"labels \(n,\)"),
    ((X @ w, POINTS, LABELS * 0, {"w": [1.0, 2.0]}), ValueError, "there is only 0"),
    ((X @ w, POINTS[:0], LABELS[:0], {"w": [1.0, 2.0]}), ValueError, "there is none"),
    ((lambda p: np.zeros((len(p), 3)), POINTS, LABELS), sg.ShapeError, r"60 points have shape \(60, 3\); for 2 classes \(n,\)"),
    ((lambda p: p[:, 0], POINTS, np.arange(60) % 3), sg.ShapeError, r"for 3 classes \(n, 3\) is needed"),
])  # fmt: skip
def test_wrong_models(arguments, kind, message) -> None:
    with pytest.raises(kind, match=message):
        sg.plot_decision_boundary(*arguments)


def test_wrong_tests_and_names() -> None:
    for options, kind, message in (({"test": (POINTS,)}, TypeError, "test is two arrays"), ({"names": ("a",)}, ValueError, "1 for 2"),
                                   ({"test": (POINTS[:, :1], LABELS)}, sg.ShapeError, r"\(60, 2\), those of the test \(60, 1\)"),
                                   ({"classes": ["a"]}, ValueError, "1 names for 2")):
        with pytest.raises(kind, match=message):
            sg.plot_decision_boundary(lambda p: p[:, 0], POINTS, LABELS, **options)


def test_a_network_is_a_model() -> None:
    net = sg.nn.MLP(2, [4, 1], activation="tanh")
    sg.plot_decision_boundary(net, POINTS, LABELS, net.init(seed=0))


def test_more_classes_than_colours_have_other_shapes() -> None:
    labels = np.arange(60) % 12
    ax = sg.plot_decision_boundary(lambda p: np.zeros((len(p), 12)) + p[:, :1] * np.arange(12), POINTS, labels).axes[0]
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.shape) for c in ax.collections if c.get_label() in map(str, range(12))}
    assert len(looks) == 12


def test_points_on_a_line_lie_on_their_curves() -> None:
    line, points = sg.symbol("x", ("n", 1)), np.linspace(-1, 1, 40)
    labels = np.where(points > 0.25, "yes", "no")
    for model in (4 * (line[:, 0] - 0.25), 4 * (line - 0.25), 4 * (sg.symbol("x", "n") - 0.25), lambda p: 4 * (p[:, 0] - 0.25)):
        ax = sg.plot_decision_boundary(model, points, labels, names=("length [cm]",)).axes[0]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("length [cm]", "score")
        no, yes = (np.asarray(c.get_offsets()) for c in ax.collections if c.get_label() in ("no", "yes"))
        np.testing.assert_allclose(yes[:, 1], 4 * (yes[:, 0] - 0.25))
        assert len(no) == 25 and len(yes) == 15
    three = sg.plot_decision_boundary(lambda p: np.concatenate([-p, 0 * p, p], axis=1), points, np.arange(40) % 3, theme="dark")
    assert three.axes[0].get_ylabel() == "probability"


def test_epochs_are_whole_and_metrics_have_their_names() -> None:
    from symgrad.train.pictures import history_figure

    for epochs in (1, 2, 3, 300):
        values = np.linspace(2.0, 0.01, epochs)
        picture = history_figure({"loss": values, "val_loss": values, "error rate": values, "val_error rate": values}, note="stopped")
        picture.figure.draw_without_rendering()
        loss, metric = picture.axes
        assert all(t == round(t) for t in loss.get_xticks()) and metric.get_title(loc="left") == "error rate"
        assert [t.get_text() for t in loss.texts][-1] == "stopped"
    diverged = history_figure({"loss": np.array([1.0, 1e20, 1e231])})
    diverged.figure.draw_without_rendering()
    assert not any("+" in t.get_text() for t in (*diverged.axes[0].get_yticklabels(), *diverged.axes[0].texts))


def test_where_loss_curves_end_is_legible() -> None:
    from symgrad.train.pictures import history_figure

    history = {"loss": [3.0, 0.2, 0.1], "val_loss": [3.0, 0.2, 0.101], "accuracy": [0.1, 0.5, 1.0]}
    picture = history_figure({name: np.array(values) for name, values in history.items()})
    first, second = (t.xyann[1] for t in picture.axes[0].texts)
    assert abs(first - second) >= 8 and len(picture.axes) == 2
    history_figure({"loss": np.array([np.nan, np.nan])})
    history_figure({"loss": np.empty(0)})
