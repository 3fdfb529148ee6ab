"""The command line: what it prints, what it writes, and how it fails (EDGES 14 to 20, 49, 50)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from symgrad.__main__ import main
from symgrad.cli.datasets import load, split
from symgrad.cli.tables import numeric_columns, read_csv


def call(capsys, *arguments):
    """Exit status, standard output and standard error of a command, run in this process."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


# --- formulas ------------------------------------------------------------------------------------------


def test_grad(capsys):
    assert call(capsys, "grad", "3*x**2 - 4*x + 5") == (0, "df/dx = 6*x - 4\n", "")


def test_grad_of_chosen_symbols_in_the_order_asked_for(capsys):
    status, out, _ = call(capsys, "grad", "tanh(w*x + b)", "--wrt", "w,b")
    assert status == 0
    assert [line.split(" = ")[0] for line in out.splitlines()] == ["df/dw", "df/db"]
    assert out.splitlines()[0] == "df/dw = x*(1 - tanh(w*x + b)**2)"


def test_grad_in_latex(capsys):
    status, out, _ = call(capsys, "grad", "x**2 * y", "--wrt", "y", "--latex")
    assert status == 0 and out.startswith(r"\frac{\partial f}{\partial y} = x^{2}")


def test_grad_of_tensors(capsys):
    status, out, _ = call(capsys, "grad", "sum((X @ w - t)**2)", "--shape", "X=n,3", "--shape", "w=3", "--shape", "t=n", "--wrt", "w")
    assert status == 0 and "X.T" in out


def test_grad_at_a_point(capsys):
    assert call(capsys, "grad", "3*x**2 - 4*x + 5", "--at", "x=3") == (0, "df/dx = 6*x - 4\ndf/dx = 14 at x=3\n", "")


def test_grad_of_several_shares_its_parts(capsys):
    status, out, _ = call(capsys, "grad", "(sigmoid(w*x + b) - y)**2 * tanh(w*x + b)", "--wrt", "w,b")
    assert status == 0 and out.splitlines()[-1] == "df/db = δ" and out.splitlines()[-2] == "df/dw = x*δ"


def test_grad_step_by_step_is_what_explain_prints(capsys):
    steps = call(capsys, "grad", "tanh(w*x + b)", "--wrt", "w", "--steps", "--at", "x=2,w=-3,b=6.5")
    assert steps == call(capsys, "explain", "tanh(w*x + b)", "--wrt", "w", "--at", "x=2,w=-3,b=6.5")
    assert steps[0] == 0 and "  dy/dw = dy/du1 · ∂u1/∂w\n" in steps[1] and "\x1b[" not in steps[1]


@pytest.mark.parametrize("form, start", [("latex", "\\begin{aligned}"), ("markdown", "## $y$"), ("html", '<div class="sg-explain">')])
def test_explain_in_other_forms(capsys, form, start):
    status, out, _ = call(capsys, "explain", "x**2*sin(x)", "--to", form)
    assert status == 0 and out.startswith(start)


@pytest.mark.parametrize("name, start", [
    ("why.txt", "y = x**2"), ("why.md", "## $y$"), ("why.tex", "\\begin{aligned}"), ("why.html", "<!doctype html>"),
])
def test_explain_into_a_file(capsys, tmp_path, name, start):
    file = tmp_path / name
    assert call(capsys, "explain", "x**2*sin(x)", "-o", str(file)) == (0, "", "")
    assert file.read_text(encoding="utf-8").startswith(start)


def test_a_page_of_its_own_follows_the_colours_of_the_reader(capsys, tmp_path):
    file = tmp_path / "why.html"
    call(capsys, "explain", "x**2", "-o", str(file))
    assert "color-scheme:light dark" in file.read_text(encoding="utf-8")


def test_arrays_in_a_point(capsys):
    status, out, _ = call(capsys, "grad", "sum(A @ v)", "--shape", "A=2,2", "--shape", "v=2", "--at", "A=[[1,2],[3,4]], v=[1,-pi]")
    assert status == 0
    assert out.splitlines()[-3:] == [
        "df/dA = [[ 1.      , -3.141593],",
        "         [ 1.      , -3.141593]] at A=[[1,2],[3,4]], v=[1,-pi]",
        "df/dv = [4., 6.] at A=[[1,2],[3,4]], v=[1,-pi]",
    ]
    assert call(capsys, "grad", "1/x", "--at", "x=-inf")[1].splitlines()[-1] == "df/dx = -0 at x=-inf"


@pytest.mark.parametrize("width", [40, 80])
def test_explain_on_a_terminal_is_coloured_and_fits(width):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "xterm-256color"} | {"NO_COLOR": ""}
    command = ["-m", "symgrad", "explain", "mean(tanh(X @ W + b)**2)", "--shape", "X=n,3", "--shape", "W=3,4", "--shape", "b=4"]
    process = subprocess.Popen([sys.executable, *command], stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(60) == 0
    text = shown.decode()
    assert "\x1b[1m" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "")
    assert max(map(len, plain.split("\n"))) <= width


def test_source_is_a_python_module(capsys):
    status, out, _ = call(capsys, "source", "tanh(w*x + b)", "--wrt", "w")
    assert status == 0
    compile(out, "generated", "exec")
    assert "symgrad" not in re.sub(r'""".*?"""|#.*', "", out, flags=re.S)  # it runs without us


def test_source_into_a_file(capsys, tmp_path):
    file = tmp_path / "model.py"
    assert call(capsys, "source", "tanh(w*x + b)", "--wrt", "w", "--annotate", "-o", str(file)) == (0, "", "")
    program = file.read_text(encoding="utf-8")
    compile(program, "generated", "exec")
    assert "# tanh(w*x + b); 3 operations" in program
    status, _, err = call(capsys, "source", "x", "-o", str(tmp_path / "nowhere" / "model.py"))
    assert status == 2 and "nowhere" in err and len(err.splitlines()) == 1


# --- pictures ------------------------------------------------------------------------------------------


def test_draw_prints_an_outline(capsys):
    status, out, _ = call(capsys, "draw", "-x**2", "--at", "x=-3/2")
    assert status == 0 and out.splitlines() == [
        "−x²      data −2.25  grad  1",
        "└─ x²    data  2.25  grad −1",
        "   └─ x  data  −1.5  grad  3",
    ]


def test_draw_writes_files(capsys, tmp_path):
    formula = "tanh(w*x + b)"
    for name, head in (("g.dot", b"digraph"), ("g.mmd", b"%%{init"), ("g.txt", b"L = tanh")):
        status, out, err = call(capsys, "draw", formula, "-o", str(tmp_path / name), "--wrt", "w,b", "--dark")
        assert (status, out, err) == (0, "", "") and (tmp_path / name).read_bytes().startswith(head)
    assert b"dL/dw" in (tmp_path / "g.mmd").read_bytes() and b"dL/dx" not in (tmp_path / "g.mmd").read_bytes()


def test_draw_as_a_picture(capfd, tmp_path):
    pytest.importorskip("pygraphviz", reason="pictures of graphs need pygraphviz")
    with pytest.raises(SystemExit) as stop:
        main(["draw", "x*y", "--at", "x=2,y=pi", "-o", str(tmp_path / "g.svg"), "--wrt", "all"])
    assert stop.value.code == 0 and capfd.readouterr() == ("", "")
    assert "dL/dy" in (tmp_path / "g.svg").read_text(encoding="utf-8")


def test_plot(capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    for k, arguments in enumerate((
        ["x**3 - 3*x", "--range", "-2.5,2.5", "--tangent", "-1.5,1"],
        ["-x**2", "a*x", "--range", "x=-pi,pi", "--at", "a=-2", "--dark", "--title", "two"],
        ["(1 - x)**2 + 100*(y - x**2)**2", "--range", "x=-2,2", "--range", "y=-1,3"],
        ["--derivatives", "2", "sin(x)"],
        ["softmax(v*x)", "--shape", "v=3", "--at", "v=[1,2,3]"],
    )):
        file = tmp_path / f"{k}.svg"
        assert call(capsys, "plot", "-o", str(file), *arguments) == (0, "", "")
        assert file.read_bytes().startswith(b"<?xml")


def test_formulas_that_begin_with_a_minus_sign(capsys):
    assert call(capsys, "grad", "-x**2", "--wrt", "x") == (0, "df/dx = -2*x\n", "")
    assert call(capsys, "grad", "--wrt", "x", "-x*y") == (0, "df/dx = -y\n", "")
    assert call(capsys, "grad", "--wrt", "x", "--", "-x*y") == (0, "df/dx = -y\n", "")
    status, _, err = call(capsys, "grad", "-x", "-y")
    assert status == 2 and "unexpected extra argument" in err


@pytest.mark.parametrize("arguments, text", [
    (["grad", ""], "column"),
    (["grad", "x +"], "column"),
    (["grad", "x y"], "column"),
    (["grad", "2x"], "column"),
    (["grad", "x.__class__"], "column"),
    (["grad", "__import__('os')"], "column"),
    (["grad", "tanhh(x)"], "tanh"),
    (["grad", "x*y", "--wrt", "q"], "x, y"),
    (["grad", "x*y", "--wrt", ","], "x, y"),
    (["grad", "x", "--shape", "x=n"], "jacobian"),
    (["grad", "x", "--shape", "x"], "NAME=SIZES"),
    (["grad", "a + b", "--shape", "a=3", "--shape", "b=4"], "(3,)"),
    (["source", "x", "--to", "fortran"], "fortran"),
    (["draw", "x*y", "--at", "x=2"], "no value for y"),
    (["draw", "x*y", "--at", "x=2,y"], "NAME=VALUE"),
    (["draw", "x*y", "--at", "x=2,y=z"], "z is not a number"),
    (["draw", "x*y", "--at", "x=2,x=3,y=1"], "twice"),
    (["draw", "x*y", "--at", ""], "NAME=VALUE"),
    (["draw", "x*y", "--wrt", "q"], "x, y"),
    (["grad", "x*y", "--at", "x=2"], "--at x=2: no value for y"),
    (["explain", "x*y", "--at", "x=2"], "--at x=2: no value for y"),
    (["grad", "x*y", "--at", "x=2,z=3"], "z does not occur in the expression; its symbols are x, y"),
    (["grad", "sum(v)", "--shape", "v=3", "--at", "v=[1,2"], "[1,2 is no array"),
    (["grad", "sum(v)", "--shape", "v=3", "--at", "v=[1,,2]"], "nothing is not a number"),
    (["grad", "sum(v)", "--shape", "v=3", "--at", "v=[1,2]"], "2 entries instead of 3"),
    (["grad", "sum(v)", "--shape", "v=n", "--at", "v=[[1],[2,3]]"], "rows have different lengths"),
    (["grad", "x", "--at", "x=[1,2]"], "()"),
    (["grad", "x*y", "--wrt", ""], "write names, separated by commas; the symbols are x, y"),
    (["grad", "alpha*x", "--wrt", "alpah"], "did you mean alpha?"),
    (["grad", "3"], "no symbol to differentiate by"),
    (["explain", "3"], "no symbol to differentiate by"),
    (["explain", "x", "-o", "why.pdf"], "cannot write 'why.pdf': a name ends in .txt, .md, .tex, .html"),
    (["explain", "x", "-o", "nowhere/why.md"], "nowhere"),
    (["draw", "x", "--shape", "x=3", "--wrt", "x"], "shape (3,)"),
    (["draw", "x", "-o", "g.bmp"], "g.bmp"),
    (["draw", "x", "-o", "nowhere/g.dot"], "nowhere"),
    (["plot", "x"], "--output"),
    (["plot", "-o", "g.png"], "Missing argument"),
    (["plot", "a*x", "-o", "g.svg", "--range", "1,2"], "a, x"),
    (["plot", "a*x", "-o", "g.svg", "--range", "x=1,2"], "no value for a"),
    (["plot", "a*x*y", "-o", "g.svg"], "no value for a, x, y: --at a=1, or a range, as in --range a=-5,5"),
    (["plot", "a*x", "-o", "g.svg", "--range", "x=1,2", "--at", "b=2"], "b does not occur in the expression; its symbols are a, x"),
    (["plot", "x", "-o", "g.svg", "--range", "x=1"], "FROM,TO"),
    (["plot", "x", "-o", "g.svg", "--range", "3,1"], "smaller"),
    (["plot", "x", "-o", "g.svg", "--range", "0,y"], "y is not a number"),
    (["plot", "x", "-o", "g.svg", "--derivatives", "9"], "9"),
    (["plot", "1/x", "-o", "g.svg", "--tangent", "0"], "no tangent at 0"),
    (["plot", "x", "-o", "g.nothing"], "nothing"),
    (["nonsense"], "nonsense"),
    (["train"], "Missing argument"),
    (["train", "nowhere.csv"], "nowhere.csv"),
    (["train", "moons", "--epochs", "-1"], "epochs"),
    (["train", "moons", "--epochs", "many"], "many"),
    (["train", "moons", "--batch-size", "0"], "batch_size"),
    (["train", "moons", "--activation", "rellu"], "rellu"),
    (["train", "moons", "--hidden", "16,x"], "16,x"),
    (["train", "moons", "--hidden", "16,0"], "at least 1"),
    (["train", "moons", "--lr", "nan"], "lr"),
    (["train", "moons", "--seed", "-1"], "seed"),
    (["train", "moons", "--target", "x"], "--target"),
    (["bench", "nonsense"], "moons"),
    (["bench", "moons", "--against", "abacus"], "abacus"),
])
def test_row_20_bad_input_is_one_line_and_status_2(capsys, tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, *arguments)
    assert status == 2
    assert len(err.splitlines()) == 1 and err.startswith("symgrad: ") and text in err


def test_help_of_every_command(capsys):
    for command in ([], ["grad"], ["draw"], ["plot"], ["source"], ["train"], ["cache"], ["cache", "info"], ["bench"]):
        status, out, _ = call(capsys, *command, "--help")
        assert status == 0 and "Usage: symgrad" in out and max(map(len, out.splitlines())) <= 110


def test_cache_info_and_clear(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMGRAD_CACHE_DIR", str(tmp_path / "store"))
    status, out, _ = call(capsys, "cache", "info")
    assert status == 0 and str(tmp_path / "store") in out and "entries  0" in out
    assert call(capsys, "cache", "clear")[:2] == (0, "removed 0 entries\n")


# --- training ------------------------------------------------------------------------------------------


def train(capsys, tmp_path, *arguments):
    status, out, err = call(capsys, "train", *arguments, "--out", str(tmp_path / "out"))
    return status, out, err, tmp_path / "out"


def accuracy(out, which):
    return float(re.search(rf"{which} +accuracy ([\d.]+) %", out).group(1))


def test_train_moons_is_the_demo(capsys, tmp_path):
    pytest.importorskip("sklearn", reason="the moons come with scikit-learn")
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    status, out, err, folder = train(capsys, tmp_path, "moons")
    assert status == 0
    assert accuracy(out, "training") == 100.0 and accuracy(out, "test") > 97
    for part in ("MLP(2, [16, 16, 1], activation='relu'), 337 parameters", "Loss", "Update formulas", "Compiled", "Scores", "Written"):
        assert part in out
    for name in ("W1", "b1", "W2", "b2", "W3", "b3"):
        assert re.search(rf"^  {name} ← {name} - ", out, flags=re.M)
    assert "epoch 100/100" in err
    assert sorted(p.name for p in folder.iterdir()) == ["boundary.png", "loss.png", "moons.npz"]
    assert all((folder / n).read_bytes().startswith(b"\x89PNG") for n in ("boundary.png", "loss.png"))
    with np.load(folder / "moons.npz", allow_pickle=False) as saved:
        assert saved["W1"].shape == (2, 16) and saved["input_scale"].shape == (2,)
        assert list(saved["classes"]) == ["outer moon", "inner moon"]


@pytest.mark.slow
def test_moons_over_twenty_seeds(capsys, tmp_path):
    scores = [accuracy(train(capsys, tmp_path, "moons", "--seed", str(s))[1], "training") for s in range(20)]
    assert scores[0] == 100.0 and np.mean(scores) >= 99.5


@pytest.mark.slow
def test_digits_over_five_seeds(capsys, tmp_path):
    scores = [accuracy(train(capsys, tmp_path, "digits", "--seed", str(s))[1], "test") for s in range(5)]
    assert np.mean(scores) >= 96.5 and min(scores) >= 95.0


@pytest.mark.slow
def test_spiral(capsys, tmp_path):
    status, out, _, folder = train(capsys, tmp_path, "spiral")
    assert status == 0 and accuracy(out, "test") > 97 and (folder / "boundary.png").exists()


def test_row_41_a_learning_rate_of_a_million_saves_what_was_good(capsys, tmp_path):
    pytest.importorskip("sklearn", reason="the moons come with scikit-learn")
    status, _, err, folder = train(capsys, tmp_path, "moons", "--lr", "1e6", "--epochs", "1000")
    assert status == 2 and "Traceback" not in err
    assert re.match(r"symgrad: the loss turned (inf|nan) in step \d+", err.splitlines()[-1])
    with np.load(folder / "moons.npz", allow_pickle=False) as saved:
        assert all(np.isfinite(saved[k]).all() for k in ("W1", "b1", "W2", "b2", "W3", "b3"))


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def table(rows, header="size,age,price"):
    return header + "\n" + "\n".join(",".join(str(v) for v in row) for row in rows) + "\n"


RNG = np.random.default_rng(5)
SIZES, AGES = RNG.uniform(20, 200, 60).round(2), RNG.uniform(0, 90, 60).round(2)
HOUSES = [(s, a, round(3 * s - 2 * a + 100, 3)) for s, a in zip(SIZES, AGES, strict=True)]


def test_train_a_regression_from_csv(capsys, tmp_path):
    path = write(tmp_path / "houses.csv", table(HOUSES))
    status, out, _, folder = train(capsys, tmp_path, path, "--target", "price", "--hidden", "8", "--epochs", "300", "--lr", "0.01")
    assert status == 0
    assert float(re.search(r"test +R² ([\d.-]+)", out).group(1)) > 0.98
    with np.load(folder / "houses.npz", allow_pickle=False) as saved:
        assert list(saved["features"]) == ["size", "age"]
        assert 20 < saved["input_centre"][0] < 200 and saved["target_scale"] > 10
    assert (folder / "predictions.png").exists() and (folder / "loss.png").exists()


def test_the_saved_parameters_reproduce_the_predictions(capsys, tmp_path):
    """The file alone is enough: scale, layers, scale back."""
    path = write(tmp_path / "houses.csv", table(HOUSES))
    folder = train(capsys, tmp_path, path, "--hidden", "8", "--epochs", "300", "--lr", "0.01")[3]
    with np.load(folder / "houses.npz", allow_pickle=False) as p:
        x = (np.array(HOUSES)[:, :2] - p["input_centre"]) / p["input_scale"]
        y = (np.maximum(x @ p["W1"] + p["b1"], 0) @ p["W2"] + p["b2"])[:, 0] * p["target_scale"] + p["target_centre"]
    prices = np.array(HOUSES)[:, 2]
    assert np.sqrt(np.mean((y - prices) ** 2)) < 0.1 * prices.std()


def test_train_classes_from_csv_with_text_labels(capsys, tmp_path):
    points = RNG.normal(size=(90, 2)).round(3)
    rows = [(x, y, 7.5, ("low", "mid", "high")[int(np.digitize(x + y, [-0.5, 0.5]))]) for x, y in points]
    path = write(tmp_path / "classes.csv", table(rows, "x;y;always;level").replace(",", ";"))
    status, out, _, folder = train(capsys, tmp_path, path, "--epochs", "60")
    assert status == 0 and "3 classes" in out and accuracy(out, "test") > 80
    with np.load(folder / "classes.npz", allow_pickle=False) as saved:
        assert list(saved["classes"]) == ["high", "low", "mid"]
        assert all(np.isfinite(saved[k]).all() for k in saved.files if saved[k].dtype.kind == "f")  # the constant column too
    assert (folder / "confusion.png").exists()


@pytest.mark.parametrize("text, message", [
    ("", "empty file"),
    ("a,b\n", "no rows"),
    ("1,2\n3,4\n", "line 1, column 1: '1' is a number; the first line must be a header"),
    ("a,a\n1,2\n", "line 1, column 2: a second column named 'a'"),
    ("a,,c\n1,2,3\n", "line 1, column 2: a column without a name"),
    ("a,b\n1,2\n3\n", "line 3: 1 cells, the header has 2"),
    ("a,b\n1,2\n3,\n5,6\n", "line 3, column 'b': missing value"),
    ("a,b\n1,2\nNA,4\n", "line 3, column 'a': missing value"),
    ("a,b\n1,2\nred,4\n", "line 3, column 'a': 'red' is text"),
    ("a,b\n1,2\ninf,4\n", "line 3, column 'a': 'inf' is not finite"),
    ("a,b\n1,x\n2,x\n", "one class only"),
    ("a,b\n1,2\n", "1 row of data"),
    ("b\n1\n2\n", "no input columns"),
    ('a,b\n1,"2\n', "line"),
    ("a,b\n1\0,2\n", "zero byte"),
])
def test_row_49_tables_with_faults(capsys, tmp_path, text, message):
    status, _, err, _ = train(capsys, tmp_path, write(tmp_path / "bad.csv", text))
    assert status == 2 and len(err.splitlines()) == 1 and message in err


def test_row_49_not_text(capsys, tmp_path):
    (tmp_path / "bad.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    assert "not UTF-8" in train(capsys, tmp_path, str(tmp_path / "bad.csv"))[2]
    assert train(capsys, tmp_path, str(tmp_path))[0] == 2  # a folder


def test_an_unknown_target_lists_the_header(capsys, tmp_path):
    status, _, err, _ = train(capsys, tmp_path, write(tmp_path / "t.csv", table(HOUSES)), "--target", "prize")
    assert status == 2 and "size, age, price" in err


def test_lines_of_quoted_cells_are_counted(tmp_path):
    path = write(tmp_path / "q.csv", 'a,b\n"1","two\nlines"\n\nx,3\n')
    with pytest.raises(ValueError, match="line 5, column 'a': 'x' is text"):
        numeric_columns(read_csv(path), ["a"])


def test_byte_order_mark_tabs_and_windows_line_ends(tmp_path):
    (tmp_path / "w.csv").write_bytes("\ufeffa\tb\r\n1\t2\r\n3\t4\r\n".encode())
    content = read_csv(str(tmp_path / "w.csv"))
    assert content.header == ["a", "b"] and content.rows == [["1", "2"], ["3", "4"]]


def test_the_split_is_stratified_and_complete():
    labels = np.repeat([0, 1, 2], [50, 30, 2])
    for seed in range(5):
        learn, test = split(labels, len(labels), 0.2, seed)
        assert sorted([*learn, *test]) == list(range(82))
        assert [int((labels[test] == k).sum()) for k in range(3)] == [10, 6, 1]
    assert not np.array_equal(split(labels, 82, 0.2, 0)[1], split(labels, 82, 0.2, 1)[1])


@pytest.mark.parametrize("target, task", [
    ("0 1 0 1 1 0 1 0 1 0", "binary"), ("a b c a b c a b c a", "classes"), ("1.5 2 3 4 5 6 7 8 9 1", "regression"),
])
def test_the_task_is_read_from_the_target(tmp_path, target, task):
    path = write(tmp_path / "t.csv", table(enumerate(target.split()), "x,y"))
    assert load(path, target=None, task="auto", seed=0).task == task


def test_scaling_is_measured_on_the_training_rows_alone(tmp_path):
    data = load(write(tmp_path / "t.csv", table(HOUSES)), target=None, task="auto", seed=0)
    np.testing.assert_allclose(data.train[0].mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(data.train[0].std(axis=0), 1, rtol=1e-13)
    assert abs(data.test[0].mean()) > 1e-4
    everything = np.array(HOUSES)[:, :2]
    for row in data.raw(data.test[0]):
        assert np.isclose(everything, row, rtol=1e-12).all(axis=1).any()


# --- processes: streams and signals ----------------------------------------------------------------------


def process(*arguments, **options):
    environment = {**os.environ, **options.pop("env", {})}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")])
    return subprocess.run([sys.executable, "-m", "symgrad", *arguments], capture_output=True, env=environment, timeout=300, **options)


def test_row_50_output_that_cannot_show_greek():
    done = process("grad", "sin(θ)", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and b"cos(" in done.stdout and b"Traceback" not in done.stderr


def test_a_reader_that_goes_away():
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "symgrad", "grad", "x**2"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, timeout=300)
    os.close(writing)
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_row_43_ctrl_c_saves_and_exits_with_130(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-u", "-m", "symgrad", "train", "moons", "--epochs", "20000000", "--out", str(tmp_path)]

    def as_in_a_terminal():  # where the tests run in the background, shells have Ctrl-C ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen(command, preexec_fn=as_in_a_terminal, **options) as running:
        for line in running.stderr:
            if "epoch" in line:  # the first call is done
                break
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
        running.wait(timeout=60)
    assert running.returncode == 130 and "Traceback" not in rest and rest.strip().splitlines()[-1] == "symgrad: interrupted"
    assert (tmp_path / "moons.npz").exists()
