r"""LATEX: an expression as it stands in a paper.

Quotients are fractions, roots have a bar, Greek names are Greek letters, digits at the end of a name are its
subscript, an elementwise product of tensors is ``\odot``; what is shared stands below as ``where`` lines.

>>> import symgrad as sg
>>> sigma_1, x = sg.symbols("sigma_1 x")
>>> print((sg.exp(-x)/sigma_1).latex())
\frac{e^{-x}}{\sigma_{1}}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.expr import METHODS, Expr
from symgrad.show.layout import (
    ANY,
    ATOM,
    CALL,
    COMPARISON,
    LOGIC_AND,
    LOGIC_OR,
    NEGATION,
    POSTFIX,
    POWER,
    PRODUCT,
    SUM,
    Alternative,
    Layout,
    Piece,
    Script,
    contraction,
    inserted_or_dropped,
    is_number,
    is_scalar_constant,
    leads_negative,
    seen,
)
from symgrad.show.text import counted, marked, number, slice_items, slice_ranges, through_slice

__all__ = ["latex", "latex_layout", "latex_name"]

BRACKETS = (r"\left(", r"\right)")

_GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega varepsilon vartheta varphi varrho varsigma".split()
)
_LETTERS = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\epsilon", "ζ": r"\zeta", "η": r"\eta", "θ": r"\theta",
    "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "ξ": r"\xi", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau",
    "φ": r"\phi", "χ": r"\chi", "ψ": r"\psi", "ω": r"\omega", "Γ": r"\Gamma", "Δ": r"\Delta", "Θ": r"\Theta", "Λ": r"\Lambda",
    "Ξ": r"\Xi", "Π": r"\Pi", "Σ": r"\Sigma", "Φ": r"\Phi", "Ψ": r"\Psi", "Ω": r"\Omega",
}  # fmt: skip


def latex(expr: Expr) -> str:
    """The formula as LaTeX without delimiters; named and shared parts stand below it, aligned."""
    script = Script([expr], latex_layout, BRACKETS, measure=glyphs)
    if not script.definitions:
        return script.write(expr)
    lines = [(latex_name(script.names[d]), script.write(d, latex_name), "=") for d in script.definitions]
    if expr not in script.names:
        lines.append(("", script.write(expr, latex_name), ""))
    return aligned(lines)


METHODS["latex"] = latex


def glyphs(piece: str) -> int:
    """How many signs a reader sees."""
    return len(_UNSEEN_SIGN.sub("", _SIGN_COMMAND.sub("x", piece)))


_UNSEEN_SIGN = re.compile(r"\\(?:left|right|frac|operatorname|mathrm|mathbf|begin|end|text)(?![a-zA-Z])|[\\{}^_&]")
_SIGN_COMMAND = re.compile(r"\\(?:odot|cdot|top|partial|sum|prod|infty|" + "|".join(sorted(_GREEK)) + r")(?![a-zA-Z])")


def aligned(lines: Sequence[tuple[str, str, str]]) -> str:
    """Lines (name, formula, sign), as in ``name = formula``, aligned at the sign."""
    body = " \\\\\n".join(f"{name} &{sign} {formula}" if name else f"&\\phantom{{=}} {formula}" for name, formula, sign in lines)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


# --- names and numbers --------------------------------------------------------------------------------


def latex_name(name: str) -> str:
    r"""``w1`` as ``w_{1}``, ``sigma_x`` as ``\sigma_{x}``, ``rate`` as ``\mathrm{rate}``, ``actor.W1`` as ``W_{1}^{\mathrm{actor}}``."""
    prefix, _, base = name.rpartition(".")
    head, *below = [p for p in base.split("_") if p] or [base]
    match = re.fullmatch(r"(\D+)(\d+)", head)
    if match:
        head, below = match[1], [match[2], *below]
    written = _word(head) if head.isprintable() else head
    if below:
        written += f"_{{{','.join(_word(b) for b in below)}}}"
    return f"{written}^{{{_word(prefix)}}}" if prefix else written


def _word(word: str) -> str:
    if word in _GREEK:
        return f"\\{word}"
    if word in _LETTERS:
        return _LETTERS[word]
    if len(word) == 1 or word.isdigit():
        return word
    if "." in word or "_" in word:
        return r"\mathrm{" + word.replace("_", r"\_") + "}"
    return f"\\mathrm{{{word}}}"


def latex_number(value: bool | int | float) -> str:
    r"""``0.5``, ``10^{-7}``, ``2.5 \cdot 10^{12}``, ``\pi``, ``\infty``."""
    text = number(value)
    if isinstance(value, (bool, np.bool_)):
        return rf"\mathrm{{{text.lower()}}}"
    if text.lstrip("-") in ("pi", "inf", "nan"):
        return text.replace("pi", r"\pi").replace("inf", r"\infty").replace("nan", r"\mathrm{NaN}")
    mantissa, e, exponent = text.partition("e")
    if not e:
        return mantissa[:-2] if mantissa.endswith(".0") else mantissa
    power = f"10^{{{exponent}}}"
    return {"1": power, "-1": f"-{power}"}.get(mantissa.removesuffix(".0"), rf"{mantissa} \cdot {power}")


def _array(value: np.ndarray[Any, Any]) -> str:
    if value.ndim > 2 or value.size > 16:
        return rf"\mathrm{{array}}_{{{shape_latex(value.shape)}}}"
    rows = np.atleast_2d(value).tolist()
    body = r" \\ ".join(" & ".join(latex_number(v) for v in row) for row in rows)
    return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"


# --- one reading a node -------------------------------------------------------------------------------


def call(name: str, *args: Expr, below: str = "", power: Piece | None = None) -> Layout:
    r"""``\tanh^{2}\left(x\right)``."""
    command = name if name.startswith("\\") else rf"\operatorname{{{name}}}"
    pieces: list[Piece] = [command + (f"_{{{below}}}" if below else "")]
    if power is not None:
        pieces += ["^{", power, "}"]
    pieces.append(r"\left(")
    for i, arg in enumerate(args):
        pieces += [", ", (arg, ANY)] if i else [(arg, ANY)]
    return CALL, [*pieces, r"\right)"]


def right(e: Expr, strength: int) -> Piece:
    return (e, ATOM if leads_negative(e) and e.op.name != "div" else strength)


def _constant(e: Expr) -> Layout:
    value = e.params["value"]
    if e.shape:
        return CALL, [_array(value)]
    text = latex_number(value)
    return (NEGATION if text.startswith("-") else PRODUCT if "cdot" in text else POWER if "^" in text else CALL), [text]


def _is_times(e: Expr) -> bool:
    return e.op.name in ("mul", "contract", "floordiv", "mod")


def _is_roman(e: Expr) -> bool:
    """Names of several letters need air between them."""
    return e.op.name in ("symbol", "size", "named") and "mathrm" in latex_name(str(e.params.get("name", e.params.get("dim"))))


def _mul(e: Expr) -> Layout:
    a, b = e.args
    last = a
    while last.op.name == "mul":
        last = last.args[1]
    if a.shape and b.shape:
        sign = r" \odot "
    elif is_scalar_constant(b) or (is_scalar_constant(last) and b.op.name in ("pow", "div") and is_scalar_constant(b.args[0])):
        sign = r" \cdot "
    else:
        sign = r" \, " if _is_roman(last) or (_is_roman(b) and not is_scalar_constant(last)) else " "
    mixes = a.op.name in ("floordiv", "mod", "contract")
    return PRODUCT, [(a, PRODUCT + 1 if mixes else PRODUCT), sign, right(b, PRODUCT + 1)]


def _div(e: Expr) -> Layout:
    a, b = e.args
    times = 1
    while a.op.name == "div" and a.args[1] is b and b.op.name != "constant":
        a, times = a.args[0], times + 1
    if times > 1:
        return POWER, [r"\frac{", (a, ANY), "}{", (b, POWER + 1), f"^{{{times}}}}}"]
    if a.op.name == "neg" and a.args[0].op.name not in ("add", "sub", "neg"):
        return NEGATION, [r"-\frac{", (a.args[0], ANY), "}{", (b, ANY), "}"]
    return POWER, [r"\frac{", (a, ANY), "}{", (b, ANY), "}"]


_POWERED = frozenset({"sin", "cos", "tan", "sinh", "cosh", "tanh", "log"})  # written \sin^{2}(x)


def _pow(e: Expr) -> Layout:
    base, exponent = e.args
    if is_number(exponent, 0.5):
        return CALL, [r"\sqrt{", (base, ANY), "}"]
    if base.op.name in _POWERED and is_scalar_constant(exponent) and exponent.params["value"] > 0:
        _, plain = call(f"\\{base.op.name}", *base.args, power=(exponent, ANY))
        return POWER, [Alternative(seen(base), [(base, POWER + 1), "^{", (exponent, ANY), "}"], plain)]
    return POWER, [(base, POWER + 1), "^{", (exponent, ANY), "}"]


def _infix(sign: str, strength: int, operands: int) -> Callable[[Expr], Layout]:
    return lambda e: (strength, [(e.args[0], operands), f" {sign} ", (e.args[1], operands)])


def _sum(sign: str) -> Callable[[Expr], Layout]:
    return lambda e: (SUM, [(e.args[0], SUM), f" {sign} ", right(e.args[1], SUM + 1)])


def _function(name: str) -> Callable[[Expr], Layout]:
    return lambda e: call(name, *e.args)


def _transposed(x: Expr) -> list[Piece]:
    bare = seen(x).op.name == "symbol" and "^" not in latex_name(seen(x).name)
    return [(x, POSTFIX), r"^{\top}"] if bare else ["{", (x, POSTFIX), r"}^{\top}"]


def _contract(e: Expr) -> Layout:
    reading = contraction(e)
    (a, a_turned), (b, b_turned) = reading.operands
    if reading.style == "outer":
        return PRODUCT, [(a, PRODUCT + 1), r" \otimes ", (b, PRODUCT + 1)]
    if reading.style == "sum":
        below = f"_{{{reading.detail}}}" if reading.detail else ""
        return SUM + 5, [rf"\sum{below} ", (a, PRODUCT), r" \odot ", (b, PRODUCT + 1)]
    if reading.style == "einsum":
        inputs, output = reading.detail.split("->")
        left, right_ = inputs.split(",")
        summed = "".join(c for c in dict.fromkeys(left + right_) if c not in output)
        return PRODUCT, [rf"\sum_{{{summed}}} " if summed else "", (a, POSTFIX), f"_{{{left}}} ", (b, POSTFIX), f"_{{{right_}}}"]
    if a.ndim == 1 and not b_turned:
        return PRODUCT, [*_transposed(a), " ", right(b, PRODUCT + 1)]
    pieces: list[Piece] = _transposed(a) if a_turned else [(a, PRODUCT if a.op.name == "contract" else PRODUCT + 1)]
    return PRODUCT, [*pieces, " ", *(_transposed(b) if b_turned else [right(b, PRODUCT + 1)])]


def _reduction(sign: str, big: bool = False) -> Callable[[Expr], Layout]:
    def layout(e: Expr) -> Layout:
        (x,) = e.args
        axes = e.params["axes"] if "axes" in e.params else (e.params["axis"],)
        below = "" if len(axes) == x.ndim else ",".join(map(str, counted(axes, x.ndim)))
        if big:
            return SUM + 5, [sign + (f"_{{{below}}} " if below else " "), (x, PRODUCT)]
        return call(sign, x, below=below)

    return layout


def _norm(e: Expr) -> Layout:
    axes = e.params["axes"]
    below = "" if len(axes) == e.args[0].ndim else f"_{{{','.join(map(str, counted(axes, e.args[0].ndim)))}}}"
    return CALL, [r"\left\lVert ", (e.args[0], ANY), rf" \right\rVert{below}"]


def _last_axis(name: str) -> Callable[[Expr], Layout]:
    return lambda e: call(name, *e.args, below="" if e.params["axis"] == -1 else str(e.params["axis"] % e.ndim))


def _transpose(e: Expr) -> Layout:
    axes = counted(e.params["axes"], e.ndim)
    if axes == list(range(e.ndim))[::-1]:
        return POSTFIX, _transposed(e.args[0])
    return call("transpose", e.args[0], below=",".join(map(str, axes)))


def _reshape(e: Expr) -> Layout:
    (x,) = e.args
    if x.op.name == "slice":
        index = slice_items(x)
        kept = [i for i, item in enumerate(index) if re.fullmatch(r"-?\d+", item) is None]
        if len(kept) < x.ndim and tuple(x.shape[i] for i in kept) == e.shape:
            return _indexed(x.args[0], index)
    change = inserted_or_dropped(x.shape, e.shape)
    if change is not None:
        return _indexed(*through_slice(x, change))
    return call("reshape", x, below=shape_latex(e.shape))


def shape_latex(shape: Sequence[dims.Dim]) -> str:
    return r" \times ".join(str(d) for d in shape)


def _subscripted(x: Expr) -> list[Piece]:
    bare = seen(x).op.name == "symbol" and "_" not in latex_name(seen(x).name)
    return [(x, POSTFIX)] if bare else ["{", (x, POSTFIX), "}"]


def _indexed(x: Expr, index: Sequence[str]) -> Layout:
    written = [i.replace("None", r"\ast") for i in index]
    return POSTFIX, [*_subscripted(x), f"_{{{','.join(written)}}}"]


def _slice(e: Expr) -> Layout:
    return _indexed(e.args[0], slice_ranges(e))


def _gather(e: Expr) -> Layout:
    x, *indices = e.args
    pieces: list[Piece] = [*_subscripted(x), "_{" + ":," * min(counted(e.params["axes"], x.ndim))]
    for i, index in enumerate(indices):
        pieces += [",", (index, ANY)] if i else [(index, ANY)]
    return POSTFIX, [*pieces, "}"]


def _where(e: Expr) -> Layout:
    condition, a, b = e.args
    if is_number(a, 1) and is_number(b, 0):
        return CALL, [r"\mathbf{1}\left\{", (condition, ANY), r"\right\}"]
    cases: list[Piece] = [(a, ANY), r" & \text{if } ", (condition, ANY), r" \\ ", (b, ANY), r" & \text{otherwise}"]
    return COMPARISON, [r"\begin{cases} ", *cases, r" \end{cases}"]


def _size(e: Expr) -> Layout:
    dim = str(e.params["dim"])
    return (CALL, [latex_name(dim)]) if dim.isidentifier() else (CALL if dim.isdigit() else SUM, [dim.replace("*", r" \cdot ")])


def _broadcast_to(e: Expr) -> Layout:
    if is_number(e.args[0], 1):
        return CALL, [r"\mathbf{1}_{" + shape_latex(e.shape) + "}"]
    return call("broadcast", e.args[0], below=shape_latex(e.shape))


def _surrounded(left: str, closing: str) -> Callable[[Expr], Layout]:
    return lambda e: (CALL, [left, (e.args[0], ANY), closing])


def _records_latex(e: Expr) -> Layout:
    op = e.op
    if op.latex is None:
        below = ",".join(str(v) for v in e.params.values()).replace("_", r"\_")
        return call(op.name.replace("_", r"\_"), *e.args, below=below)
    return op.precedence, marked(op.latex, e, op.precedence)


_LAYOUTS: dict[str, Callable[[Expr], Layout]] = {
    "constant":      _constant,
    "symbol":        lambda e: (CALL, [latex_name(e.name)]),
    "named":         lambda e: (ATOM, [(e.args[0], ANY)]),
    "size":          _size,
    "arange":        lambda e: (CALL, [rf"\left(0, \ldots, {dims.subtract(e.shape[0], 1)}\right)"]),
    "eye":           lambda e: (CALL, [rf"I_{{{e.shape[0]}}}" if e.shape[0] == e.shape[1] else rf"I_{{{shape_latex(e.shape)}}}"]),
    "neg":           lambda e: (NEGATION, ["-", right(e.args[0], PRODUCT)]),
    "add":           _sum("+"),
    "sub":           _sum("-"),
    "mul":           _mul,
    "div":           _div,
    "floordiv":      lambda e: (CALL, [r"\left\lfloor \frac{", (e.args[0], ANY), "}{", (e.args[1], ANY), r"} \right\rfloor"]),
    "mod":           _infix(r"\bmod", PRODUCT, PRODUCT + 1),
    "pow":           _pow,
    "less":          _infix("<", COMPARISON, COMPARISON + 1),
    "less_equal":    _infix(r"\le", COMPARISON, COMPARISON + 1),
    "greater":       _infix(">", COMPARISON, COMPARISON + 1),
    "greater_equal": _infix(r"\ge", COMPARISON, COMPARISON + 1),
    "equal":         _infix("=", COMPARISON, COMPARISON + 1),
    "not_equal":     _infix(r"\ne", COMPARISON, COMPARISON + 1),
    "logical_and":   _infix(r"\wedge", LOGIC_AND, LOGIC_AND + 1),
    "logical_or":    _infix(r"\vee", LOGIC_OR, LOGIC_OR + 1),
    "logical_not":   lambda e: (NEGATION, [r"\neg ", (e.args[0], NEGATION)]),
    "exp":           lambda e: (POWER, ["e^{", (e.args[0], ANY), "}"]),
    "sqrt":          _surrounded(r"\sqrt{", "}"),
    "square":        lambda e: (POWER, [(e.args[0], POWER + 1), "^{2}"]),
    "abs":           _surrounded(r"\left|", r"\right|"),
    "floor":         _surrounded(r"\left\lfloor ", r" \right\rfloor"),
    "ceil":          _surrounded(r"\left\lceil ", r" \right\rceil"),
    "sin":           _function(r"\sin"),
    "cos":           _function(r"\cos"),
    "tan":           _function(r"\tan"),
    "asin":          _function(r"\arcsin"),
    "acos":          _function(r"\arccos"),
    "atan":          _function(r"\arctan"),
    "sinh":          _function(r"\sinh"),
    "cosh":          _function(r"\cosh"),
    "tanh":          _function(r"\tanh"),
    "asinh":         _function("arsinh"),
    "acosh":         _function("arcosh"),
    "atanh":         _function("artanh"),
    "log":           _function(r"\log"),
    "log_sigmoid":   lambda e: (PRODUCT, [r"\log \operatorname{sigmoid}\left(", (e.args[0], ANY), r"\right)"]),
    "log_softmax":   lambda e: (PRODUCT, [r"\log ", *_last_axis("softmax")(e)[1]]),
    "softmax":       _last_axis("softmax"),
    "lgamma":        lambda e: (PRODUCT, [r"\log \Gamma\left(", (e.args[0], ANY), r"\right)"]),
    "digamma":       _function(r"\psi"),
    "polygamma":     lambda e: (CALL, [rf"\psi^{{({e.params['order']})}}\left(", (e.args[0], ANY), r"\right)"]),
    "maximum":       _function(r"\max"),
    "minimum":       _function(r"\min"),
    "where":         _where,
    "contract":      _contract,
    "sum":           _reduction(r"\sum", big=True),
    "prod":          _reduction(r"\prod", big=True),
    "max":           _reduction(r"\max"),
    "min":           _reduction(r"\min"),
    "mean":          _reduction("mean"),
    "logsumexp":     _reduction("logsumexp"),
    "argmax":        _reduction("argmax"),
    "argmin":        _reduction("argmin"),
    "cumsum":        _reduction("cumsum"),
    "norm":          _norm,
    "transpose":     _transpose,
    "reshape":       _reshape,
    "broadcast_to":  _broadcast_to,
    "slice":         _slice,
    "gather":        _gather,
    "stop_gradient": _function("stop"),
}  # fmt: skip


def latex_layout(e: Expr) -> Layout:
    """How one node reads as LaTeX: its binding strength and its pieces."""
    return _LAYOUTS.get(e.op.name, _records_latex)(e)


