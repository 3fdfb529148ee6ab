"""MATRICES: local rules for products, inverses and determinants of matrices: the closed forms of matrix calculus.

K. B. Petersen and M. S. Pedersen, "The matrix cookbook" (2012); J. R. Magnus and H. Neudecker, "Matrix differential
calculus" (3rd edition, 2007). As everywhere in simplification, algebra holds where the formula has a value: that a
singular matrix times its inverse is NaN is given up.
"""

from __future__ import annotations

from collections.abc import Callable

from symgrad.expr import Expr, apply, constant, symbol
from symgrad.ops.linear import canonical_spec, split_spec
from symgrad.ops.reduce import size_of
from symgrad.simplify.factors import inner_factor, is_plain_factor
from symgrad.simplify.norms import NORMS
from symgrad.simplify.rewriting import ACCURATE, BOTH, CHEAPER, FORM, Rule, do, see

__all__ = ["MATRICES"]

_DEPTH = 3  # how many nodes deep a matrix is asked whether it is symmetric


# --- transposes and symmetric matrices ---------------------------------------------------------------------


def matrix_transpose(e: Expr) -> Expr:
    """Every matrix turned; what was turned is turned back."""
    return e.args[0] if is_matrix_transpose(e) else do("transpose", e, axes=(*range(-e.ndim, -2), -1, -2))


def is_matrix_transpose(e: Expr) -> bool:
    return e.op.name == "transpose" and e.params["axes"] == (*range(-e.ndim, -2), -1, -2)


def is_symmetric(e: Expr, depth: int = _DEPTH) -> bool:
    """Whether a matrix is plainly its own transpose: ``X.T @ X``, ``A + A.T``, and what is made of such."""
    e = see(e)
    name = e.op.name
    if e.ndim != 2 or depth == 0:
        return False
    if name == "eye":
        return e.shape[0] == e.shape[1]
    if name in ("inv", "neg", "transpose"):
        return is_symmetric(e.args[0], depth - 1)
    if name == "contract":
        left, right, result = split_spec(e.params["spec"])
        return e.args[0] is e.args[1] and canonical_spec(right, left, result) == canonical_spec(left, right, result[::-1])
    if name in ("mul", "div") and () in (e.args[0].shape, e.args[1].shape):
        return is_symmetric(e.args[0] if e.args[0].shape else e.args[1], depth - 1)
    if name in ("add", "sub", "mul"):
        a, b = e.args
        if name != "sub" and a.ndim == b.ndim == 2 and (a is matrix_transpose(b) or b is matrix_transpose(a)):
            return True
        return is_symmetric(a, depth - 1) and is_symmetric(b, depth - 1)
    return False


def _transposed_symmetric(e: Expr) -> Expr | None:
    return e.args[0] if e.ndim == 2 and e.params["axes"] == (-1, -2) and is_symmetric(e.args[0]) else None


def _transposed_scaled(e: Expr) -> Expr | None:
    """A scalar factor of a matrix stands before its transpose."""
    c, x = _scaled(e.args[0])
    return None if c is None or x.shape != e.args[0].shape else do("mul", c, apply(e.op, x, **e.params))


def _contract_symmetric(e: Expr) -> Expr | None:
    """A symmetric matrix is never turned: of ``F @ S.T`` and ``F @ S`` the one whose letters come first."""
    left, right, result = split_spec(e.params["spec"])
    specs = [e.params["spec"]]
    if len(left) == 2 and is_symmetric(e.args[0]):
        specs.append(canonical_spec(left[::-1], right, result))
    if len(right) == 2 and is_symmetric(e.args[1]):
        specs += [canonical_spec(*_turned_right(spec)) for spec in specs]
    best = min(specs, key=_turns)
    return None if _turns(best) == _turns(specs[0]) else apply(e.op, *e.args, spec=best)


def _turned_right(spec: str) -> tuple[str, str, str]:
    left, right, result = split_spec(spec)
    return left, right[::-1], result


def _turns(spec: str) -> int:
    """How many operands of a matrix product are transposed."""
    left, right, result = split_spec(spec)
    (shared,) = set(left) & set(right) if len(set(left) & set(right)) == 1 else ("",)
    if not shared or shared in result:
        return 0
    if len(left) == len(right) == 2 and len(result) == 2 and result[0] in right:
        left, right = right, left
    return int(len(left) == 2 and left[0] == shared) + int(len(right) == 2 and right[1] == shared)


def _contract_itself(e: Expr) -> Expr | None:
    """The two operands of ``outer(x, x)`` may change places: one spec for both."""
    a, b = e.args
    if a is not b:
        return None
    left, right, result = split_spec(e.params["spec"])
    spec = min(canonical_spec(left, right, result), canonical_spec(right, left, result))
    return None if spec == e.params["spec"] else apply(e.op, a, b, spec=spec)


def _reading_order(e: Expr) -> Expr | None:
    """``x @ A`` is ``A.T @ x``: vectors are columns; and the operand that the result's rows come from stands first."""
    left, right, result = split_spec(e.params["spec"])
    if len(left) > 2 or len(right) > 2 or not result:
        return None
    vector = len(left) == 1 and len(right) == 2 and len(result) == 1 and left in right and result != left
    if not vector and (len(result) != 2 or result[0] in left or result[1] in right):
        return None
    return apply(e.op, e.args[1], e.args[0], spec=canonical_spec(right, left, result))


def _turned_product(e: Expr) -> Expr | None:
    """``(P.T @ Q).T`` in a product is ``Q.T @ P``."""
    letters = list(split_spec(e.params["spec"]))
    operands = list(e.args)
    for k in range(2):
        inner = operands[k]
        if inner.op.name != "contract" or inner.ndim != 2 or not _is_turned(letters, k):
            continue
        left, right, result = split_spec(inner.params["spec"])
        if len(left) != 2 or len(right) != 2 or len(set(left) & set(right)) != 1 or not _turns(inner.params["spec"]):
            continue
        operands[k] = apply(inner.op, inner.args[1], inner.args[0], spec=canonical_spec(right, left, result[::-1]))
        letters[k] = letters[k][::-1]
    return None if operands == list(e.args) else apply(e.op, *operands, spec=canonical_spec(*letters))


def _is_turned(letters: list[str], k: int) -> bool:
    """Whether an operand of a product of matrices (and vectors) is read as its transpose."""
    own, other, result = letters[k], letters[1 - k], letters[2]
    shared = set(own) & set(other)
    if len(own) != 2 or len(shared) != 1 or shared & set(result):
        return False
    first = len(other) == 1 or result[0] in own
    return (own[0] in shared) if first else (own[1] in shared)


# --- sums of products --------------------------------------------------------------------------------------


def _sum_of_products(e: Expr) -> Expr | None:
    """``A @ x + A.T @ x`` is ``(A + A.T) @ x``: one product for two, also where both are scaled alike."""
    (c, first), (d, second) = map(_scaled, e.args)
    if c is not d or first.op.name != "contract" or second.op.name != "contract" or first.shape != second.shape:
        return None
    for i in range(2):
        for j in range(2):
            if first.args[i] is second.args[j] and (other := _aligned_letters(first, i, second, j)) is not None:
                total = do(e.op.name, first.args[1 - i], other)
                operands = [total, total]
                operands[i] = first.args[i]
                product = apply(first.op, *operands, **first.params)
                return product if c is None else do("mul", c, product)
    return None


def _scaled(x: Expr) -> tuple[Expr | None, Expr]:
    """A scalar factor, if there is one, and what it scales."""
    if x.op.name == "mul" and not x.args[0].shape and x.args[1].shape:
        return x.args[0], x.args[1]
    return None, x


def _aligned_letters(first: Expr, i: int, second: Expr, j: int) -> Expr | None:
    """The other operand of the second contraction, its axes in the order of the first's, where everything else agrees."""
    mine, theirs = split_spec(first.params["spec"]), split_spec(second.params["spec"])
    if len(mine[2]) != len(theirs[2]):
        return None
    names = dict(zip(theirs[j], mine[i], strict=True))
    for letter, own in zip(theirs[2], mine[2], strict=True):
        if names.setdefault(letter, own) != own:
            return None
    have, want = theirs[1 - j], mine[1 - i]
    if any(c not in names for c in have) or sorted(names[c] for c in have) != sorted(want):
        return None
    renamed = "".join(names[c] for c in have)
    other = second.args[1 - j]
    if other.shape != tuple(first.args[1 - i].shape[want.index(c)] for c in renamed):
        return None
    return other if renamed == want else do("transpose", other, axes=tuple(renamed.index(c) - len(want) for c in want))


def _common_number(e: Expr) -> Expr | None:
    """``0.5*u + 0.5*v`` is ``0.5*(u + v)`` for tensors."""
    (c, u), (d, v) = map(_scaled, e.args)
    if c is None or c is not d or u.shape != v.shape or not (is_plain_factor(c) or _is_det(c)):
        return None
    return do("mul", c, do(e.op.name, u, v))


def _number_to_scalar(e: Expr) -> Expr | None:
    """``2*((s*t)*x)`` is ``(2*(s*t))*x``: a number goes to the scalar factor of a tensor."""
    c, x = e.args
    if c.shape or not is_plain_factor(c) or x.op.name != "mul" or x.args[0].shape or is_plain_factor(x.args[0]):
        return None
    return do("mul", do("mul", c, x.args[0]), x.args[1])


# --- inverses and systems ----------------------------------------------------------------------------------


def _inverse(e: Expr) -> Expr | None:
    (a,) = e.args
    if a.op.name == "inv":
        return a.args[0]
    if a.op.name == "eye":
        return a
    if is_matrix_transpose(a):
        return matrix_transpose(do("inv", a.args[0]))
    if a.op.name == "neg":
        return do("neg", do("inv", a.args[0]))
    parts = inner_factor(a)
    return None if parts is None else do("mul", do("div", constant(1), parts[0]), do("inv", parts[1]))


def _times_inverse(e: Expr) -> Expr | None:
    """``inv(A) @ A`` and ``A @ inv(A)`` are the identity."""
    left, right, result = split_spec(e.params["spec"])
    a, b = e.args
    if len(left) != 2 or len(right) != 2 or len(result) != 2 or not (_is_inverse(a, b) or _is_inverse(b, a)):
        return None
    if left[1] == right[0] or left[0] == right[1]:  # not A.T @ inv(A)
        return do("eye", rows=e.shape[0], columns=e.shape[1])
    return None


def _is_inverse(a: Expr, b: Expr) -> bool:
    return a.op.name == "inv" and a.args[0] is b and b.ndim == 2


def _solve_by_identity(e: Expr) -> Expr | None:
    a, b = e.args
    if b.op.name == "eye" and b.shape[0] == b.shape[1] and a.ndim == 2:
        return do("inv", a)
    return b if a.op.name == "eye" and e.shape == b.shape else None


def _solve_scaled(e: Expr) -> Expr | None:
    """Numbers, sizes and signs come out of the right-hand side."""
    a, b = e.args
    if b.op.name == "neg":
        return do("neg", apply(e.op, a, b.args[0], **e.params))
    parts = inner_factor(b)
    return None if parts is None else do("mul", parts[0], apply(e.op, a, parts[1], **e.params))


def _sum_of_solutions(e: Expr) -> Expr | None:
    """``solve(A, b) + solve(A, c)`` is ``solve(A, b + c)``."""
    x, y = e.args
    if x.op is not y.op or x.op.name != "solve" or x.params != y.params:
        return None
    (a, b), (c, d) = x.args, y.args
    if a is not c or b.shape != d.shape:
        return None
    return apply(x.op, a, do(e.op.name, b, d), **x.params)


# --- determinants and traces -------------------------------------------------------------------------------


def _of_transpose(e: Expr) -> Expr | None:
    """The determinant and the trace of a transpose are those of the matrix."""
    (a,) = e.args
    return apply(e.op, a.args[0]) if is_matrix_transpose(a) else None


def _logdet_of_inverse(e: Expr) -> Expr | None:
    (a,) = e.args
    return do("neg", do("logdet", a.args[0])) if a.op.name == "inv" else None


def _det_of_inverse(e: Expr) -> Expr | None:
    (a,) = e.args
    return do("div", constant(1), do("det", a.args[0])) if a.op.name == "inv" else None


def _of_identity(e: Expr) -> Expr | None:
    (a,) = e.args
    if a.op.name != "eye":
        return None
    if e.op.name == "trace":
        return size_of(a.shape[0]) if a.shape[0] == a.shape[1] else None
    return constant(1.0 if e.op.name == "det" else 0.0)


def _log_of_det(e: Expr) -> Expr | None:
    """``log(det(A))`` is ``logdet(A)``, which does not overflow."""
    x = see(e.args[0])
    x = see(x.args[0]) if x.op.name == "abs" else x
    return do("logdet", x.args[0]) if x.op.name == "det" else None


def _contract_det(e: Expr) -> Expr | None:
    """A determinant comes out of a product."""
    for k, x in enumerate(e.args):
        if x.op.name == "mul" and not x.args[0].shape and x.args[1].shape == x.shape and _is_det(x.args[0]):
            return do("mul", x.args[0], apply(e.op, *[x.args[1] if j == k else y for j, y in enumerate(e.args)], **e.params))
    return None


def _is_det(e: Expr) -> bool:
    """A determinant, its reciprocal, or a multiple of them."""
    if e.op.name in ("mul", "div", "neg"):
        return any(map(_is_det, e.args)) and all(_is_det(a) or is_plain_factor(a) for a in e.args)
    return e.op.name == "det"


# --- tables ------------------------------------------------------------------------------------------------


def _square(make: Callable[[Expr, Expr, Expr], Expr]) -> Callable[[], Expr]:
    """A sample made of two square matrices and a vector."""
    return lambda: make(symbol("A", (3, 3)), symbol("B", (3, 3)), symbol("v", 3))


def _gram(A: Expr) -> Expr:
    return do("contract", A, A, spec="ij,ik->jk")


def _has(name: str) -> Callable[..., bool]:
    """Some operand is of this op."""
    return lambda *heads: name in heads


MATRICES: tuple[Rule, ...] = (
    # products
    Rule("reading order",          FORM,     ("contract",), _reading_order,          _square(lambda A, B, v: v @ A), cosmetic=True),
    Rule("contract itself",        FORM,     ("contract",), _contract_itself,
         _square(lambda A, B, v: do("contract", v, v, spec="i,j->ji"))),
    Rule("transposed symmetric",   CHEAPER,  ("transpose",), _transposed_symmetric,   _square(lambda A, B, v: do("inv", _gram(A)).T)),
    Rule("transposed scaled",      FORM,     ("transpose",), _transposed_scaled,      _square(lambda A, B, v: (do("det", B) * A).T)),
    Rule("contract symmetric",     FORM,     ("contract",), _contract_symmetric,
         _square(lambda A, B, v: do("contract", A, do("inv", _gram(A)), spec="ij,kj->ik"))),
    Rule("turned product",         FORM,     ("contract",), _turned_product,
         _square(lambda A, B, v: do("contract", do("contract", A, B, spec="ij,ik->jk"), v, spec="ij,i->j")), look=_has("contract")),
    Rule("determinant outside",    FORM,     ("contract",), _contract_det,
         _square(lambda A, B, v: A @ (do("det", B) * B)), look=_has("mul")),
    # sums
    Rule("sum of products",        CHEAPER,  ("add", "sub"), _sum_of_products,        _square(lambda A, B, v: A @ v + A.T @ v), late=BOTH),
    Rule("common number",          CHEAPER,  ("add", "sub"), _common_number,
         _square(lambda A, B, v: 0.5*A + 0.5*B), tensors=True, look=_has("mul")),
    Rule("number to scalar",       CHEAPER,  ("mul",),      _number_to_scalar,       "2*(s*v)", tensors=True, look=_has("mul")),
    Rule("sum of solutions",       CHEAPER,  ("add", "sub"), _sum_of_solutions,
         _square(lambda A, B, v: do("solve", A, v, vector=True) + do("solve", A, 2*v + 1, vector=True)), late=BOTH, look=_has("solve")),
    # inverses and systems
    Rule("inverse",                FORM,     ("inv",),      _inverse,                _square(lambda A, B, v: do("inv", A.T))),
    Rule("times inverse",          CHEAPER,  ("contract",), _times_inverse,
         _square(lambda A, B, v: do("trace", A @ do("inv", A))), look=_has("inv")),
    Rule("solve by identity",      CHEAPER,  ("solve",),    _solve_by_identity,
         _square(lambda A, B, v: do("solve", A, do("eye", rows=3, columns=3), vector=False))),
    Rule("solve scaled",           FORM,     ("solve", "solve_triangular"), _solve_scaled,
         _square(lambda A, B, v: do("solve", A, -v, vector=True))),
    # determinants and traces
    Rule("of transpose",           CHEAPER,  ("det", "logdet", "signdet", "trace"), _of_transpose, _square(lambda A, B, v: do("det", A.T))),
    Rule("logdet of inverse",      CHEAPER,  ("logdet",),   _logdet_of_inverse,      _square(lambda A, B, v: do("logdet", do("inv", A)))),
    Rule("det of inverse",         CHEAPER,  ("det",),      _det_of_inverse,         _square(lambda A, B, v: do("det", do("inv", A)))),
    Rule("of identity",            CHEAPER,  ("det", "logdet", "trace"), _of_identity,
         _square(lambda A, B, v: do("trace", do("eye", rows=3, columns=3)))),
    Rule("log of det",             ACCURATE, ("log",),      _log_of_det,
         _square(lambda A, B, v: do("log", do("det", A @ A.T)))),
    *NORMS,
)  # fmt: skip
