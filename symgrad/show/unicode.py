"""UNICODE: a formula's text for labels of pictures: Greek letters, subscripts, powers as small digits, real minus signs.

>>> pretty("sigma_1**2 - 2*w_out*(x.T @ x)")
'σ₁² − 2·w_out·(xᵀ @ x)'
"""

from __future__ import annotations

import re

__all__ = ["pretty"]

_GREEK = dict(
    zip(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
        "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split(),
        "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ",
        strict=True,
    )
)
_BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_ABOVE = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SIGNS = {"*": "·", "-": "−", "<=": "≤", ">=": "≥", "!=": "≠", "==": "=", "**": "^", ".T": "ᵀ"}
_TOKEN = re.compile(
    r"(?P<quoted>\"[^\"]*\")|(?P<name>[^\W\d]\w*(?:\.(?!T\b)[^\W\d]\w*)*)(?P<call>\()?"
    r"|\*\*(?P<power>\d+)(?![.\w])|\*\*\((?P<negative>-\d+)\)"
    r"|(?P<number>\d+\.?\d*(?:e-?\d+)?)|(?P<sign>\*\*|<=|>=|!=|==|\.T\b|[-*])"
)


def pretty(text: str) -> str:
    """The text in the grammar of ``sg.parse`` as a person would typeset it in one line."""
    return _TOKEN.sub(_token, text)


def _token(found: re.Match[str]) -> str:
    if found["quoted"]:
        return found["quoted"]
    if found["name"]:
        return found["name"] + "(" if found["call"] else ".".join(map(_name, found["name"].split(".")))
    if found["power"] or found["negative"]:
        return (found["power"] or found["negative"]).translate(_ABOVE)
    if found["number"]:
        return _number(found["number"], found.string[found.end() :].startswith("**"))
    return _SIGNS[found["sign"]]


def _number(number: str, is_base: bool) -> str:
    """``2.0`` → ``2``; ``1000000000`` → ``10⁹``, where no power follows."""
    number = number.removesuffix(".0")
    zeros = re.fullmatch(r"([1-9]\d?)(0{6,})", number)
    if zeros is None or is_base:
        return number.replace("e-", "e−")
    power = f"10{str(len(zeros[2]) + len(zeros[1]) - 1).translate(_ABOVE)}"
    head = ".".join(zeros[1]) if len(zeros[1]) > 1 and zeros[1][1] != "0" else zeros[1][0]
    return power if head == "1" else f"{head}·{power}"


def _name(name: str) -> str:
    """``sigma_1`` → ``σ₁``, ``w12`` → ``w₁₂``, ``theta_out`` → ``θ_out``."""
    found = re.fullmatch(r"(.*?)_?(\d+)", name)
    stem, digits = (found[1], found[2]) if found and found[1] else (name, "")
    first, underscore, rest = stem.partition("_")
    difference = "d" if first[:1] == "d" and first[1:] in _GREEK else ""  # dL/dsigma
    first = first.removeprefix(difference)
    return difference + _GREEK.get(first, first) + underscore + rest + digits.translate(_BELOW)
