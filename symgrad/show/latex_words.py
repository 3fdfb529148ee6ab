r"""LATEX WORDS: names and numbers as they stand in a paper: ``\sigma_{x}``, ``W_{1}``, ``10^{-7}``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.show.constants import known
from symgrad.show.text import number

__all__ = ["exponent_latex", "is_short", "latex_array", "latex_name", "latex_number", "shape_latex"]

_GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega varepsilon vartheta varphi varrho varsigma".split()
)
_LETTERS = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\epsilon", "ζ": r"\zeta", "η": r"\eta", "θ": r"\theta",
    "ι": r"\iota", "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "ξ": r"\xi", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma",
    "τ": r"\tau", "υ": r"\upsilon", "φ": r"\phi", "χ": r"\chi", "ψ": r"\psi", "ω": r"\omega", "Γ": r"\Gamma", "Δ": r"\Delta",
    "Θ": r"\Theta", "Λ": r"\Lambda", "Ξ": r"\Xi", "Π": r"\Pi", "Σ": r"\Sigma", "Φ": r"\Phi", "Ψ": r"\Psi", "Ω": r"\Omega",
    "µ": r"\mu",
    "□": r"\square", "◇": r"\diamond", "△": r"\triangle", "○": r"\bigcirc", "☆": r"\star", "…": r"\ldots",
}  # fmt: skip


_SIGNS = {"hbar": r"\hbar", "ell": r"\ell"}
_ACCENTS = {"hat": r"\hat", "bar": r"\bar", "dot": r"\dot", "ddot": r"\ddot", "tilde": r"\tilde", "vec": r"\vec"}
_MARKS = {"\u0302": r"\hat", "\u0304": r"\bar", "\u0307": r"\dot", "\u0308": r"\ddot", "\u0303": r"\tilde"}


def latex_name(name: str, bold: bool = False) -> str:
    r"""``w1`` as ``w_{1}``, ``sigma_x`` as ``\sigma_{x}``, ``rate`` as ``\mathrm{rate}``, ``actor.W1`` as ``W_{1}^{\mathrm{actor}}``.

    ``x_hat`` has a hat, ``theta_dot`` a dot. ``W1.m``, a state that belongs to ``W1``, is ``m_{W_{1}}``, ``W1.m'`` the next one;
    ``∇W1`` is a gradient, ``dL/dW1`` a derivative. ``bold``: a small letter is.
    """
    if found := re.fullmatch(r"d([^/]+)/d(.+)", name):
        return rf"\frac{{\mathrm{{d}} {latex_name(found[1])}}}{{\mathrm{{d}} {latex_name(found[2])}}}"
    if name.startswith("∇"):
        return rf"\nabla {latex_name(name[1:])}"
    name, prime = name.rstrip("'"), "'" * (len(name) - len(name.rstrip("'")))
    prefix, _, base = name.rpartition(".")
    head, *below = [p for p in base.split("_") if p] or [base]
    accent = _ACCENTS[below.pop(0)] if below and below[0] in _ACCENTS and _is_letter(head) else ""
    match = re.fullmatch(r"(\D+)(\d+)", head)
    if match:
        head, below = match[1], [match[2], *below]
    if below and not is_short(head) and not all(b.isdigit() for b in below):  # words: learning_rate
        head, below = "_".join((head, *below)), []
    written = _word(head) if head.isprintable() else head
    if bold and not prefix and len(head) == 1 and head.islower():
        written = rf"\mathbf{{{head}}}" if head.isascii() else rf"\boldsymbol{{{written}}}"
    if accent:
        written = f"{accent}{{{written}}}"
    lower = [",".join(_word(b) for b in below)] if below else []
    upper = prime
    if prefix and _is_parameter(prefix):
        lower.insert(0, latex_name(prefix))
    elif prefix:
        upper = f"^{{{prime.replace(chr(39), chr(92) + 'prime')}{_word(prefix)}}}"
    return written + (f"_{{{','.join(lower)}}}" if lower else "") + upper


def is_short(head: str) -> bool:
    """One letter, Latin or Greek, or two: what has subscripts."""
    return len(head) <= 2 or head in _GREEK


def _is_letter(head: str) -> bool:
    return len(head) == 1 or head in _GREEK


def _is_parameter(prefix: str) -> bool:
    return re.fullmatch(r"(.*\.)?[A-Za-z]\d*", prefix) is not None


def _word(word: str) -> str:
    if word in _GREEK:
        return f"\\{word}"
    if word in _LETTERS:
        return _LETTERS[word]
    if word in _SIGNS:
        return _SIGNS[word]
    if len(word) == 1 and len(apart := unicodedata.normalize("NFD", word)) == 2 and apart[1] in _MARKS:
        return f"{_MARKS[apart[1]]}{{{_word(apart[0])}}}"  # ẋ
    if len(word) == 1 or word.isdigit():
        return word
    if not all(c.isascii() or c in _LETTERS for c in word):
        return r"\text{" + word.replace("_", r"\_") + "}"
    return r"\mathrm{" + "".join(f"{_LETTERS[c]} " if c in _LETTERS else c for c in word).strip().replace("_", r"\_") + "}"


def latex_number(value: bool | int | float) -> str:
    r"""``0.5``, ``10^{-7}``, ``2.5 \cdot 10^{12}``, ``\pi``, ``\sqrt{2 \pi}``, ``\infty``."""
    text = number(value)
    if isinstance(value, (bool, np.bool_)):
        return rf"\mathrm{{{text.lower()}}}"
    if text.lstrip("-") in ("pi", "inf", "nan"):
        return text.replace("pi", r"\pi").replace("inf", r"\infty").replace("nan", r"\mathrm{NaN}")
    if (name := known(abs(value))) is not None:
        return f"-{name.latex}" if value < 0 else name.latex
    mantissa, e, exponent = text.partition("e")
    if not e:
        return mantissa[:-2] if mantissa.endswith(".0") else mantissa
    power = f"10^{{{exponent}}}"
    return {"1": power, "-1": f"-{power}"}.get(mantissa.removesuffix(".0"), rf"{mantissa} \cdot {power}")


def exponent_latex(value: int | float) -> str:
    """As in ``x^{3/2}``: halves, thirds and quarters are written with a slash."""
    for below in (2, 3, 4):
        if isinstance(value, float) and value != int(value or 0) and (value * below).is_integer() and abs(value) < 100:
            return f"{int(value * below)}/{below}"
    return latex_number(value)


def latex_array(value: np.ndarray[Any, Any]) -> str:
    """A small one as a matrix, a vector as a column; a large one by its shape."""
    if value.ndim > 2 or value.size > 16:
        return rf"\mathrm{{array}}_{{{shape_latex(value.shape)}}}"
    rows = (value[:, None] if value.ndim == 1 and value.size <= 4 else np.atleast_2d(value)).tolist()
    body = r" \\ ".join(" & ".join(latex_number(v) for v in row) for row in rows)
    return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"


def shape_latex(shape: Sequence[dims.Dim]) -> str:
    """``n \\times 3``"""
    written = (str(d).replace("**", "^").replace("*", " ") for d in shape)
    return r" \times ".join(re.sub(r"[^\W\d]\w*", lambda name: latex_name(name[0]), d) for d in written)
