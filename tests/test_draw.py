"""Graphs: what the boxes say, what is drawn once, layers, condensing, and the formats; golden files of DOT, Mermaid and the outline.

``SYMGRAD_UPDATE_GOLDEN=1 pytest tests/test_draw.py`` writes the golden files anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import symgrad as sg
from symgrad.show import drawing as drawing_room
from symgrad.show.drawing import Drawing
from symgrad.show.themes import DARK, LIGHT
from symgrad.show.unicode import pretty

GOLDEN = Path(__file__).parent / "golden" / "drawings"
x, y, z, a, b = sg.symbols("x y z a b")


def label_of(drawing: Drawing) -> list[str]:
    return [box.label for box in drawing.graph.boxes]


def box_of(drawing: Drawing, label: str):
    (found,) = [box for box in drawing.graph.boxes if box.label == label]
    return found


# --- golden files --------------------------------------------------------------------------------------


def neuron() -> sg.Expr:
    x1, x2, w1, w2, b = sg.symbols("x1 x2 w1 w2 b")
    return sg.tanh((x1 * w1 + x2 * w2 + b).named("n"))


def point_of_a_neuron() -> Drawing:
    return sg.draw(sg.at(neuron(), x1=2, x2=0, w1=-3, w2=1, b=6.8813735870195432), theme="dark")


def network() -> sg.Expr:
    X, t = sg.symbol("x", ("n", 2)), sg.symbol("t", "n")
    W1, b1, W2, b2 = sg.symbol("W1", (2, 16)), sg.symbol("b1", 16), sg.symbol("W2", (16, 1)), sg.symbol("b2", 1)
    return sg.nn.mse((sg.tanh(X @ W1 + b1) @ W2 + b2)[:, 0], t).named("loss")


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "neuron": lambda: sg.draw(neuron()),
    "point": point_of_a_neuron,
    "gradient": lambda: sg.draw(neuron(), wrt=["w1", "b"]),
    "network": lambda: sg.draw(network(), wrt=["W1", "b2"], direction="TB"),
}


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("kind", ["dot", "mmd", "txt"])
def test_golden(name: str, kind: str, tmp_path: Path) -> None:
    DRAWINGS[name]().save(tmp_path / f"g.{kind}")
    written = (tmp_path / f"g.{kind}").read_text(encoding="utf-8")
    golden = GOLDEN / f"{name}.{kind}"
    if os.environ.get("SYMGRAD_UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(written, encoding="utf-8")
    assert written == golden.read_text(encoding="utf-8")


# --- boxes and arrows ----------------------------------------------------------------------------------


def test_what_is_shared_is_drawn_once() -> None:
    drawing = sg.draw(x * x + 2 * x * y)
    assert label_of(drawing) == ["x", "x·x", "2·x", "y", "2·x·y", "x·x + 2·x·y"]
    assert [o.label for o in box_of(drawing, "x·x").operands] == ["x", "x"]  # read twice
    assert drawing.graph.edges == 7 and drawing.graph.nodes == 6


def test_a_box_has_operation_formula_and_shape() -> None:
    X, w = sg.symbol("X", ("n", 3)), sg.symbol("w", 3)
    drawing = sg.draw(sg.sum((X @ w) ** 2))
    boxes = [(box.kind, box.badge, box.label, box.shape) for box in drawing.graph.boxes]
    assert boxes == [
        ("input", "", "X", "(n, 3)"), ("input", "", "w", "(3,)"), ("operation", "@", "X @ w", "(n,)"),
        ("operation", "^", "(X @ w)²", "(n,)"), ("operation", "Σ", "sum((X @ w)²)", ""),
    ]  # fmt: skip


def test_a_named_node_is_one_box_with_what_it_names() -> None:
    named = (a + b).named("s")
    assert label_of(sg.draw(sg.exp(named))) == ["a", "b", "s = a + b", "exp(s)"]
    assert sg.draw(named).graph.boxes[-1].badge == "+"


def test_a_named_node_beside_other_users_of_what_it_names() -> None:
    inner = a + b
    assert label_of(sg.draw(inner.named("s") * inner)) == ["a", "b", "a + b", "s = a + b", "s·(a + b)"]
    assert label_of(sg.draw(x.named("input") ** 2)) == ["x", "input = x", "input²"]


def test_a_point_shows_value_and_gradient_in_every_box() -> None:
    drawing = sg.draw(sg.at(a * b + z, a=2.0, b=-3.0, z=10.0))
    cells = {box.label: dict(box.cells) for box in drawing.graph.boxes}
    assert cells == {
        "a": {"data": "2", "grad": "−3"}, "b": {"data": "−3", "grad": "2"}, "a·b": {"data": "−6", "grad": "1"},
        "z": {"data": "10", "grad": "1"}, "a·b + z": {"data": "4", "grad": "1"},
    }  # fmt: skip


def test_values_of_tensors_integers_and_conditions() -> None:
    X, k = sg.symbol("X", ("n", 2)), sg.symbol("k", integer=True)
    point = sg.at(sg.sum(sg.where(X > 0, X, 0.0)) * k, X=np.arange(-3.0, 3.0).reshape(3, 2), k=2)
    cells = {box.label: dict(box.cells) for box in sg.draw(point).graph.boxes}
    assert cells["X"] == {"data": "−3 … 2", "grad": "0 … 2"}
    assert cells["X > 0"] == {"data": "2 of 6 true"}
    assert cells["k"] == {"data": "2"}


def test_the_gradients_graph_shares_the_expressions() -> None:
    drawing = sg.draw(sg.tanh(a * x), wrt="a")
    kinds = {box.label: box.kind for box in drawing.graph.boxes}
    assert kinds["tanh(a·x)"] == "operation" and kinds["1 − tanh(a·x)²"] == "gradient"
    assert [box.outputs for box in drawing.graph.boxes if box.outputs] == [["L"], ["dL/da"]]


def test_wrt_of_every_kind() -> None:
    product = a * b
    outputs = lambda wrt: [name for box in sg.draw(sg.sin(product), wrt=wrt).graph.boxes for name in box.outputs]  # noqa: E731
    assert set(outputs(True)) == {"L", "dL/da", "dL/db"}
    assert outputs(product) == ["L", "dL/d(a·b)"]
    assert outputs({"first": a}) == ["L", "dL/da"]
    assert outputs(None) == []
    assert [n for box in sg.draw((a**2).named("E"), wrt=a).graph.boxes for n in box.outputs] == ["dE/da"]


def test_the_bare_chain_rule_and_its_values() -> None:
    raw, simplified = (sg.draw(sg.at(x**2 / 2, x=3.0), wrt=x, simplify=s) for s in (False, True))
    assert len(raw.graph.boxes) > len(simplified.graph.boxes)
    (gradient,) = [box for box in raw.graph.boxes if "dL/dx" in box.outputs]
    assert dict(gradient.cells)["data"] == "3"


def test_several_expressions_and_functions() -> None:
    assert [box.outputs for box in sg.draw([a + b, a]).graph.boxes] == [["[1]"], [], ["[0]"]]
    assert [box.outputs for box in sg.draw({"sum": a + b, "pair": (a, b)}).graph.boxes] == [["pair[0]"], ["pair[1]"], ["sum"]]
    nested = sg.draw({"a": [a, {"b": b * a, "c": [b]}]})
    assert [o for box in nested.graph.boxes for o in box.outputs] == ["a[0]", "a[1].c", "a[1].b"]
    function = sg.compile(sg.sin(a) * b)
    assert label_of(sg.draw(function)) == label_of(sg.draw(sg.sin(a) * b))
    assert label_of(sg.draw(sg.compile(sg.sin(a)).formulas)) == ["a", "cos(a)"]


def test_numbers_alone() -> None:
    assert label_of(sg.draw(sg.constant(2.5))) == ["2.5"]
    assert label_of(sg.draw([x, sg.constant(2)])) == ["x", "2"]


def test_conversions_have_no_box() -> None:
    k = sg.symbol("k", integer=True)
    assert label_of(sg.draw(sg.exp(k * 1.5))) == ["k", "1.5·k", "exp(1.5·k)"] or label_of(sg.draw(sg.exp(k * 1.5)))[1] == "k·1.5"


def test_numbers_stand_in_formulas() -> None:
    X = sg.symbol("X", "n")
    assert label_of(sg.draw(sg.mean(X**2), wrt=X))[-1] == "2/n·X"

def test_a_number_that_is_not_whole_does_not_look_so() -> None:
    def shown(value: float) -> str:
        return dict(box_of(sg.draw(sg.at(sg.tanh(x), x=value)), "x").cells)["data"]

    assert [shown(v) for v in (-0.999967, 2.00001, 3.0, 1e-30, 0.1 + 0.2, 1234567.0)] == [
        "−0.99997", "2.00001", "3", "1e−30", "0.3", "1.235e6",
    ]  # fmt: skip


def test_what_is_too_long_to_be_written_out_has_a_name() -> None:
    left, right = (sg.sin(x * y + sg.exp(a * x) * y) * a**2 for a in sg.symbols("a b"))
    labels = label_of(sg.draw(left / right))
    assert labels[-1] == "h₁/h₂" and "h₁ = sin(x·y + exp(a·x)·y)·a²" in labels and not any("…" in label for label in labels)


def test_formulas_fit_their_boxes() -> None:
    s = sg.exp(x * y)
    labels = label_of(sg.draw(s * s + s / (1 + s) - sg.sin(s)))
    assert "h₂ = exp(x·y)·exp(x·y) + h₁" in labels and labels[-1] == "h₂ − sin(exp(x·y))"
    h = x
    for k in range(30):
        h = sg.tanh(a * h + b * sg.symbol(f"in_{k}"))
    assert not any("…" in label for label in label_of(sg.draw(h, limit=None)))


def test_names_of_a_network_are_those_of_its_printed_gradients() -> None:
    net = sg.nn.MLP(2, [8, 8, 1], activation="tanh")
    X, t = sg.symbol("x", ("n", 2)), sg.symbol("t", "n")
    loss = sg.nn.mse(net(X)[:, 0], t)
    labels = label_of(sg.draw(loss))
    hidden = ["H₁ = tanh(x @ W₁ + b₁)", "H₁ @ W₂", "H₁ @ W₂ + b₂", "H₂ = tanh(H₁ @ W₂ + b₂)", "H₂ @ W₃", "H₂ @ W₃ + b₃"]
    assert [label for label in labels if label.startswith("H")] == hidden
    drawn = {label.partition(" =")[0] for label in label_of(sg.draw(loss, wrt=list(net.parameters))) if " = " in label}
    printed = {pretty(line.partition(" =")[0]) for line in str(sg.compile(loss, wrt=net.parameters).formulas).splitlines()}
    assert {"H₁", "H₂", "δ₁", "δ₂", "δ₃"} <= drawn & printed


def test_an_index_is_one_box() -> None:
    X = sg.symbol("X", (3, 4))
    boxes = [(box.badge, box.label, box.shape) for box in sg.draw(X[1, 2] * X[0, 1:3].sum()).graph.boxes]
    assert boxes[:3] == [("", "X", "(3, 4)"), ("[ ]", "X[1, 2]", ""), ("[ ]", "X[0, 1:3]", "(2,)")]
    column = X[:, 2:3]
    assert label_of(sg.draw([column[:, 0], column])) == ["X", "X[:, 2:3]", "X[:, 2]"]  # what is a result has a box
    assert sg.draw(x * sg.symbol("v", 3)[:, None]).graph.boxes[2].badge == "[ ]"


def test_values_that_are_not_finite() -> None:
    point = sg.at(sg.sum(sg.log(sg.symbol("X", 4))), X=np.array([np.nan, 0.0, 1.0, 1e-300]))
    cells = {box.label: dict(box.cells)["data"] for box in sg.draw(point).graph.boxes}
    assert cells == {"X": "0 … 1, 1 nan", "log(X)": "−inf … 0, 1 nan", "sum(log(X))": "nan"}


def test_a_tooltip_has_the_whole_formula_within_bounds() -> None:
    e = sg.sin(x * y + sg.exp(x) * y) * sg.cos(x + sg.log(y) * sg.sqrt(x))
    assert sg.draw(e).graph.boxes[-1].tooltip == "sin(x·y + exp(x)·y)·cos(x + log(y)·sqrt(x))"
    for k in range(50):
        e = sg.sin(e) * x + k
    assert all(len(box.tooltip) <= 300 for box in sg.draw(e).graph.boxes)


# --- layers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu", "maxout", "gelu", "softplus"])
def test_layers_of_a_network(activation: str) -> None:
    net = sg.nn.MLP(2, [8, 8, 1], activation=activation)
    X, t = sg.symbol("x", ("n", 2)), sg.symbol("t", "n")
    boxes = sg.draw(sg.nn.mse(net(X)[:, 0], t) + 0.1 * net.l2()).graph.boxes
    layer = {box.label: box.layer for box in boxes}
    assert [layer[name] for name in ("W₁", "b₁", "W₂", "b₂", "W₃", "b₃")] == ["layer 1"] * 2 + ["layer 2"] * 2 + ["layer 3"] * 2
    assert layer["x"] == layer["t"] == layer["sum(W₁²)"] == layer["W₁²"] == ""
    products = [box for box in boxes if box.badge == "@"]
    assert [box.layer for box in products] == ["layer 1", "layer 2", "layer 3"]
    assert boxes[-1].layer == ""


def test_layers_of_named_networks() -> None:
    first, second = sg.nn.Linear(2, 3, "tanh", name="hidden"), sg.nn.MLP(3, [4, 1], name="actor")
    boxes = sg.draw(second(first(sg.symbol("x", ("n", 2))))).graph.boxes
    assert list(dict.fromkeys(box.layer for box in boxes if box.layer)) == ["hidden", "actor, layer 1", "actor, layer 2"]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_backward_sweep_has_layers_too(activation: str) -> None:
    net = sg.nn.MLP(2, [8, 8, 8, 1], activation=activation)
    X, t = sg.symbol("x", ("n", 2)), sg.symbol("t", "n")
    boxes = sg.draw(sg.nn.mse(net(X)[:, 0], t), wrt=list(net.parameters)).graph.boxes
    layer = {name: box.layer for box in boxes for name in box.outputs}
    assert [layer[f"dL/d{p}{sub}"] for sub in "₁₂₃₄" for p in "Wb"] == [f"layer {k}, backward" for k in (1, 1, 2, 2, 3, 3, 4, 4)]
    assert all(box.layer.endswith("backward") for box in boxes if box.kind == "gradient")
    passed_on = next(box for box in boxes if box.label.startswith("δ₂ ="))
    assert passed_on.layer == "layer 2, backward"


def test_one_layer_and_formulas_have_no_groups() -> None:
    X, W1 = sg.symbol("x", ("n", 2)), sg.symbol("W1", (2, 3))
    assert not any(box.layer for box in sg.draw(sg.tanh(X @ W1)).graph.boxes)
    assert not any(box.layer for box in sg.draw(neuron()).graph.boxes)


# --- large graphs --------------------------------------------------------------------------------------


def recurrence(steps: int) -> sg.Expr:
    w, u, b = sg.symbols("w u b")
    h = sg.symbol("h0")
    for k in range(steps):
        h = sg.tanh(w * h + u * sg.symbol(f"x{k}") + b)
    return h


def test_a_large_graph_is_condensed_and_counts_what_it_folds() -> None:
    expr = recurrence(40)
    drawing = sg.draw(expr)
    operations = [box for box in drawing.graph.boxes if box.operands]
    assert len(operations) <= 80 < drawing.graph.nodes
    assert sum(box.operations for box in drawing.graph.boxes) == 5 * 40
    assert {box.badge for box in operations} == {"5 ops"}
    assert box_of(drawing, "t₂ = tanh(w·t₁ + u·x₁ + b)")  # h is taken, by h0
    assert dict(box_of(drawing, "w").cells) == {"read by": "40 boxes"}
    whole = sg.draw(expr, limit=None)
    assert len(whole.graph.boxes) == drawing.graph.nodes == len(whole.graph.boxes)


def test_what_cannot_be_folded_is_counted() -> None:
    nodes = [a, b]
    for k in range(400):
        nodes.append(sg.sin(nodes[-1] + nodes[-2]) if k % 2 else nodes[-1] * nodes[-2])
    drawing = sg.draw(nodes[-1], limit=30)
    assert len(drawing.graph.boxes) <= 2 * 30 + 1
    (rest,) = [box for box in drawing.graph.boxes if box.kind == "elided"]
    assert re.fullmatch(r"… \d+ more operations", rest.label)
    assert sum(box.operations for box in drawing.graph.boxes) == sum(not n.args == () for n in nodes) + 200
    place = {id(box): k for k, box in enumerate(drawing.graph.boxes)}
    assert all(place[id(o)] < place[id(box)] for box in drawing.graph.boxes for o in box.operands)  # no cycles, operands first


def test_many_inputs_are_counted() -> None:
    terms = [sg.symbol(f"q{k}") ** 2 for k in range(1000)]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    drawing = sg.draw(total)
    assert len(drawing.graph.boxes) < 200
    assert any("more inputs" in box.label for box in drawing.graph.boxes)


def test_long_chains_cost_no_stack() -> None:
    e = x
    for _ in range(3000):
        e = sg.sin(e)
    assert len(str(sg.draw(e)).splitlines()) < 80
    assert sg.draw(e).direction in ("LR", "TB")


def test_gradients_stand_beside_what_they_are_of() -> None:
    pytest.importorskip("pygraphviz", reason="pictures of graphs need pygraphviz")
    drawing = sg.draw(neuron(), wrt=["x1", "b"])
    svg = ET.fromstring(drawing.svg())
    nodes = [g for g in svg.iter("{http://www.w3.org/2000/svg}g") if g.get("class") == "node"]
    places = {g.find("{*}title").text: float(g.find(".//{*}text").get("x")) for g in nodes}
    x_of = {box.label: places[box.id] for box in drawing.graph.boxes}
    assert x_of["x₁·w₁"] < x_of["n = x₁·w₁ + x₂·w₂ + b"] < x_of["tanh(n)"]  # forth
    assert x_of["tanh(n)²"] > x_of["1 − tanh(n)²"] > x_of["w₁·(1 − tanh(n)²)"]  # and back


def test_layers_of_the_backward_sweep_stand_beside_their_own() -> None:
    pytest.importorskip("pygraphviz", reason="pictures of graphs need pygraphviz")
    net = sg.nn.MLP(4, [8, 8, 8, 3], activation="relu")
    X, t = sg.symbol("x", ("n", 4)), sg.symbol("t", "n", integer=True)
    drawing = sg.draw(sg.nn.cross_entropy(net(X), t), wrt=list(net.parameters))
    assert drawing.direction == "TB"
    svg = ET.fromstring(drawing.svg())
    ends = {}
    for g in svg.iter("{http://www.w3.org/2000/svg}g"):
        if g.get("class") == "cluster":
            name = g.find(".//{*}text").text
            heights = [float(n) for n in re.findall(r",(-?[\d.]+)", g.find(".//{*}path").get("d"))]
            ends[name] = min(heights), max(heights)
    assert len(ends) == 8
    for k in (1, 2, 3, 4):
        (top, bottom), (top_back, bottom_back) = ends[f"layer {k}"], ends[f"layer {k}, backward"]
        assert abs((top + bottom) - (top_back + bottom_back)) / 2 < bottom - top  # not a layer further down or up
    assert all(ends[f"layer {k}, backward"][1] < ends[f"layer {k + 1}, backward"][0] for k in (1, 2, 3))


def test_the_direction_follows_the_length() -> None:
    assert sg.draw(x * y).direction == "LR"
    assert sg.draw(recurrence(5)).direction == "TB"
    assert sg.draw(recurrence(5), direction="LR").direction == "LR"
    chains = [sg.symbol(f"start_{k}") for k in range(12)]
    for _ in range(10):
        chains = [sg.log_sigmoid(c) for c in chains]
    assert sg.draw(chains[:1]).direction == "TB" and sg.draw(chains).direction == "LR"  # broader than long


@pytest.mark.parametrize("width", [80, 40])
def test_the_outline_fits_its_width(width: int) -> None:
    point = sg.at(neuron(), x1=2, x2=0, w1=-3, w2=1, b=6.88)
    lines = sg.draw(point, wrt=True).outline(width).splitlines()
    assert max(map(len, lines)) <= width
    first = lines[0] if width == 80 else lines[1]  # the narrow one has names above
    assert first.startswith("L = tanh(n)") and f"{point.value():.4g}" in first  # values stay, formulas are cut
    assert (lines[0].split() == ["data", "grad"]) == (width == 40)


# --- formats -------------------------------------------------------------------------------------------

EXPRESSIONS = {
    "neuron": neuron, "network": network, "recurrence": lambda: recurrence(40), "quotes": lambda: sg.where((a < b) & (b >= 1), a, b) * 2,
}  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_svg_is_well_formed_and_has_every_box(name: str, theme: str) -> None:
    pytest.importorskip("pygraphviz", reason="pictures of graphs need pygraphviz")
    drawing = sg.draw(EXPRESSIONS[name](), theme=theme)
    root = ET.fromstring(drawing.svg())
    space = "{http://www.w3.org/2000/svg}"
    groups = [g.get("class") for g in root.iter(f"{space}g")]
    assert groups.count("node") == len(drawing.graph.boxes) and groups.count("edge") == drawing.graph.edges
    assert groups.count("cluster") == len({box.layer for box in drawing.graph.boxes} - {""})
    shown = {" ".join(t.itertext()).strip() for t in root.iter(f"{space}text")}
    assert {box.label for box in drawing.graph.boxes if box.label} <= shown


def test_every_format_has_its_kind_of_file(tmp_path: Path) -> None:
    pytest.importorskip("pygraphviz", reason="pictures of graphs need pygraphviz")
    for name, head in (("g.png", b"\x89PNG"), ("g.pdf", b"%PDF"), ("g.svg", b"<?xml"), ("g.DOT", b"digraph"), ("g.mmd", b"flowchart")):
        sg.draw(x * y).save(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(head)


def test_a_notebook_gets_svg() -> None:
    pytest.importorskip("pygraphviz", reason="pictures of graphs need pygraphviz")
    bundle = sg.draw(x * y)._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/plain"} and bundle["text/plain"] == "x·y\n├─ x\n└─ y"
    picture = ET.fromstring(bundle["image/svg+xml"])
    assert "max-width:100%" in picture.attrib["style"] and "style" not in ET.fromstring(sg.draw(x * y).svg()).attrib


def test_a_wide_picture_is_as_narrow_as_a_notebook() -> None:
    pytest.importorskip("pygraphviz", reason="pictures of graphs need pygraphviz")
    e = x
    for _ in range(5):
        e = sg.softplus(e)
    wide = sg.draw(e, direction="LR")
    own, shown = (ET.fromstring(s).attrib for s in (wide.svg(), wide._repr_mimebundle_()["image/svg+xml"]))
    assert own["width"] != shown["width"] == "720pt" and own["viewBox"] == shown["viewBox"]
    ratio = float(own["height"][:-2]) / float(own["width"][:-2])
    assert float(shown["height"][:-2]) / 720 == pytest.approx(ratio, rel=0.02)


def test_without_pygraphviz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    drawing_room._graphviz.cache_clear()
    drawing = sg.draw(x * y)
    with pytest.raises(sg.MissingDependencyError, match=r'needs pygraphviz: pip install "symgrad\[viz\]"') as missing:
        drawing.save(tmp_path / "g.svg")
    assert "\n" not in str(missing.value) and not (tmp_path / "g.svg").exists()
    drawing.save(tmp_path / "g.dot")
    bundle = drawing._repr_mimebundle_()
    assert set(bundle) == {"text/vnd.mermaid", "text/plain"} and "symgrad[viz]" in bundle["text/plain"]


def test_pictures_are_made_by_a_process_without_standard_error(tmp_path: Path) -> None:
    pytest.importorskip("pygraphviz", reason="pictures of graphs need pygraphviz")
    program = f"import os; os.close(2); import symgrad as sg; x = sg.symbol('x'); sg.draw(x*x).save({str(tmp_path / 'g.svg')!r})"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent)
    ET.parse(tmp_path / "g.svg")


def test_dot_and_mermaid_escape_what_they_must() -> None:
    drawing = sg.draw(sg.where((a < b) & (b >= 1), a, b))
    assert "a &lt; b" in drawing.dot() and "&amp;" in drawing.dot()
    assert "#lt;" in drawing.mermaid() and "a < b" not in drawing.mermaid()


def test_names_of_results_may_be_anything() -> None:
    names = ['f <1> & "a" `q` #1; ;', "line\nbreak\x07\x00 {x}|y|", "**b** __c__ [z](u) --> %%", "L" * 100]
    drawing = sg.draw({name: x + k for k, name in enumerate(names)})
    assert [o for box in drawing.graph.boxes for o in box.outputs] == [names[0], "line break {x}|y|", names[2], "L" * 39 + "…"]
    assert "\x07" not in drawing.dot() + drawing.mermaid() + str(drawing)
    pytest.importorskip("pygraphviz", reason="pictures of graphs need pygraphviz")
    assert "line break {x}|y|" in "".join(ET.fromstring(drawing.svg()).itertext())


def test_the_theme_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMGRAD_THEME", "dark")
    assert DARK.ground in sg.draw(x).dot() and LIGHT.ground in sg.draw(x, theme="light").dot()
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    assert sg.plot(x).figure.get_facecolor() == pytest.approx([int(DARK.ground[k : k + 2], 16) / 255 for k in (1, 3, 5)] + [1])
    monkeypatch.setenv("SYMGRAD_THEME", "blue")
    with pytest.raises(ValueError, match=r"'light' or 'dark', not 'blue' \(SYMGRAD_THEME\)"):
        sg.draw(x)


def test_arrows_can_be_seen_on_dark_pages() -> None:
    first, second = sg.draw(x * y, theme="dark").mermaid().splitlines()[:2]
    assert first == '%%{init: {"theme": "base", "themeVariables": {"lineColor": "#8994a0"}}}%%' and second == "flowchart LR"


def test_wrong_arguments() -> None:
    for wrong, kind, message in (
        (lambda: sg.draw(x, theme="blue"), ValueError, "'light' or 'dark', not 'blue'"),
        (lambda: sg.draw(x, direction="up"), ValueError, "LR, TB, RL, BT, not 'up'"),
        (lambda: sg.draw(x, limit=1), ValueError, "at least 2"),
        (lambda: sg.draw([]), ValueError, "no expression"),
        (lambda: sg.draw("x*y"), TypeError, r"sg\.parse\('x\*y'\)"),
        (lambda: sg.draw([x, y], wrt=x), sg.ShapeError, "these are 2"),
        (lambda: sg.draw(sg.nn.MLP(2, [1], activation="tanh")), TypeError, r"not the MLP that makes one: call it, as in sg.draw\(net"),
        (lambda: sg.draw(sg.symbol("v", 3), wrt=True), sg.ShapeError, r"shape \(3,\)"),
        (lambda: sg.draw(x * y, wrt=x + y), ValueError, "does not occur"),
        (lambda: sg.draw(x).save("graph.bmp"), ValueError, r"'graph.bmp': a name ends in \.svg"),
    ):
        with pytest.raises(kind, match=message):
            wrong()


# --- text and colours ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text, shown", [
    ("sigma_1**2 - alpha*x12", "σ₁² − α·x₁₂"),
    ("x**(-1) + x**0.5 + x**y", "x⁻¹ + x^0.5 + x^y"),
    ("log1p(x) + atan2(y, x2)", "log1p(x) + atan2(y, x₂)"),
    ("actor.W1.T @ x.T", "actor.W₁ᵀ @ xᵀ"),
    ("x[1:] >= 1e-7", "x[1:] ≥ 1e−7"),
    ("theta_out != pi", "θ_out ≠ π"),
    ("x2**10", "x₂¹⁰"),
    ("where(x > 0, 1.0, 0.0) + 10.05 - 2.0e-7 + x**2.0", "where(x > 0, 1, 0) + 10.05 − 2.0e−7 + x^2"),
    ('einsum("ij,jk->ik", a_1, b)', 'einsum("ij,jk->ik", a₁, b)'),
    ("1000000000*x + 25000000 - 100000", "10⁹·x + 2.5·10⁷ − 100000"),
    ("10000000**2 + 10000001", "10000000² + 10000001"),
])  # fmt: skip
def test_pretty(text: str, shown: str) -> None:
    assert pretty(text) == shown


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
def test_text_has_contrast(theme) -> None:
    for fill, border in [*theme.fills.values(), theme.layer]:
        assert contrast(theme.ink, fill) > 7 and contrast(theme.muted, fill) > 4.5
        assert contrast(border, theme.ground) > 1.4
    assert contrast(theme.fills["gradient"][1], theme.fills["gradient"][0]) > 3.5
    assert all(contrast(colour, theme.ground) > 2.8 for colour in theme.curves)
