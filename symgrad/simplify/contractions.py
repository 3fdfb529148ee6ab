"""CONTRACTIONS: local rules for products that are summed."""

from __future__ import annotations

from symgrad.dims import Shape
from symgrad.expr import Expr, apply, constant
from symgrad.ops.linear import canonical_spec, contract, split_spec
from symgrad.ops.movement import reshape_to
from symgrad.simplify.factors import inner_factor
from symgrad.simplify.rewriting import CHEAPER, Rule, do, number, see
from symgrad.simplify.samples import sample
from symgrad.simplify.tensors import everywhere

__all__ = ["CONTRACTIONS", "times_identity"]


def _sum_of_product(e: Expr) -> Expr | None:
    """``sum(a*b)`` contracts the axes that both have; the others are spread out or summed by the contraction itself."""
    (x,) = e.args
    axes = e.params["axes"]
    if x.op.name != "mul" and not (x.op.name == "pow" and number(x.args[1]) == 2):
        return None
    a, b = x.args if x.op.name == "mul" else (x.args[0], x.args[0])
    if a.kind != "real" or b.kind != "real":
        return None
    letters = [chr(97 + k) for k in range(x.ndim)]
    left, right = _letters(a, x, letters), _letters(b, x, letters)
    summed = [letters[a] for a in axes]
    if x.ndim > 1 and left == right:  # no axis is spread out: the sum of an elementwise product is as good
        return None
    if not left or not right or not all(c in left and c in right for c in summed) or x.ndim > 20:
        return None
    result = [c for c in letters if c not in summed]
    if any(c not in left and c not in right for c in result):
        return None
    product = contract(_without_ones(a, x), _without_ones(b, x), "".join(left), "".join(right), "".join(result))
    return reshape_to(product, e.shape)


def _sum_of_contraction(e: Expr) -> Expr | None:
    """What one operand alone has is summed before: ``sum(X @ A, axis=0)`` is ``sum(X, axis=0) @ A``."""
    (x,) = e.args
    if x.op.name != "contract":
        return None
    left, right, result = split_spec(x.params["spec"])
    summed = [result[a] for a in e.params["axes"]]
    if all(c in left and c in right for c in summed):  # elementwise products, which the sum may well be taken of
        return None
    return reshape_to(contract(x.args[0], x.args[1], left, right, "".join(c for c in result if c not in summed)), e.shape)


def _letters(a: Expr, whole: Expr, letters: list[str]) -> list[str]:
    skipped = whole.ndim - a.ndim
    return [letters[skipped + k] for k, d in enumerate(a.shape) if not (d == 1 and whole.shape[skipped + k] != 1)]


def _without_ones(a: Expr, whole: Expr) -> Expr:
    skipped = whole.ndim - a.ndim
    return reshape_to(a, tuple(d for k, d in enumerate(a.shape) if not (d == 1 and whole.shape[skipped + k] != 1)))


def _contract_transposed(e: Expr) -> Expr | None:
    """A transpose is another order of letters."""
    left, right, result = split_spec(e.params["spec"])
    a, b = e.args
    turned = False
    for _ in range(2):
        if a.op.name == "transpose":
            letters = [""] * len(left)
            for place, axis in enumerate(a.params["axes"]):
                letters[axis] = left[place]
            a, left, turned = a.args[0], "".join(letters), True
        a, b, left, right = b, a, right, left
    return apply(e.op, a, b, spec=canonical_spec(left, right, result)) if turned else None


def _transposed_contract(e: Expr) -> Expr | None:
    (x,) = e.args
    if x.op.name != "contract":
        return None
    left, right, result = split_spec(x.params["spec"])
    return apply(x.op, *x.args, spec=canonical_spec(left, right, "".join(result[a] for a in e.params["axes"])))


def _contract_negative(e: Expr) -> Expr | None:
    a, b = e.args
    if a.op.name == "neg":
        return do("neg", apply(e.op, a.args[0], b, **e.params))
    return do("neg", apply(e.op, a, b.args[0], **e.params)) if b.op.name == "neg" else None


def _contract_scaled(e: Expr) -> Expr | None:
    """Numbers and sizes come out of a contraction, where fewer elements are left to scale."""
    for k, x in enumerate(e.args):
        if (parts := inner_factor(x)) is not None:
            return do("mul", parts[0], apply(e.op, *[parts[1] if j == k else y for j, y in enumerate(e.args)], **e.params))
    return None


def _contract_nothing(e: Expr) -> Expr | None:
    """A contraction that sums nothing and spreads nothing out is an elementwise product."""
    left, right, result = split_spec(e.params["spec"])
    a, b = e.args
    if not left or not right:
        scalar, other, letters = (a, b, right) if not left else (b, a, left)
        if sorted(letters) != sorted(result):
            return None
        return do("mul", scalar, _permuted(other, letters, result))
    return do("mul", _permuted(a, left, result), _permuted(b, right, result)) if sorted(left) == sorted(right) == sorted(result) else None


def _permuted(x: Expr, have: str, want: str) -> Expr:
    return x if have == want else do("transpose", x, axes=tuple(have.index(c) - len(have) for c in want))


def _contract_zeros(e: Expr) -> Expr | None:
    return constant(0) if any(number(a) == 0 for a in e.args) else None


def _contract_ones(e: Expr) -> Expr | None:
    """The product with a tensor that is the same everywhere is a sum, repeated along the axes of that tensor alone."""
    left, right, result = split_spec(e.params["spec"])
    for x, other, letters in ((e.args[0], e.args[1], right), (e.args[1], e.args[0], left)):
        value = everywhere(x)
        if value is None:
            continue
        axes = tuple(k - len(letters) for k, c in enumerate(letters) if c not in result)
        total = do("sum", other, axes=axes, keepdims=False) if axes else other
        kept = [c for c in letters if c in result]
        order = [kept.index(c) for c in result if c in kept]
        moved = total if order == sorted(order) else do("transpose", total, axes=tuple(k - len(kept) for k in order))
        wide = reshape_to(moved, tuple(d if c in kept else 1 for c, d in zip(result, e.shape, strict=True)))
        return do("mul", value, wide)
    return None


def _contract_repeated(e: Expr) -> Expr | None:
    """An operand that repeats itself along an axis does without it, if the other has that axis; or the result repeats itself."""
    left, right, result = split_spec(e.params["spec"])
    operands, letters = list(e.args), [left, right]
    spread: set[str] = set()
    for k in range(2):
        x, other = operands[k], letters[1 - k]
        if x.op.name != "broadcast_to":
            continue
        (small,) = x.args
        sizes = (1,) * (x.ndim - small.ndim) + small.shape
        axes = list(zip(letters[k], sizes, x.shape, strict=True))
        repeated = {c for c, own, d in axes if own == 1 and d != 1 and (c in other or c in result)}
        if repeated:
            spread |= {c for c in repeated if c not in other}
            kept = [axis for axis in axes if axis[0] not in repeated]
            less = reshape_to(small, tuple(own for _, own, _ in kept))
            operands[k], letters[k] = _broadcast(less, tuple(d for _, _, d in kept)), "".join(c for c, _, _ in kept)
    if letters == [left, right]:
        return None
    product = contract(operands[0], operands[1], letters[0], letters[1], "".join(c for c in result if c not in spread))
    return _broadcast(reshape_to(product, tuple(1 if c in spread else d for c, d in zip(result, e.shape, strict=True))), e.shape)


def _broadcast(x: Expr, shape: Shape) -> Expr:
    return x if x.shape == shape else do("broadcast_to", x, shape=shape)


def _contract_factor(e: Expr) -> Expr | None:
    """A factor that alone has an axis goes to the other operand, which has it, too: fewer products, each of fewer axes."""
    left, right, result = split_spec(e.params["spec"])
    for x, other, own, others in ((e.args[0], e.args[1], left, right), (e.args[1], e.args[0], right, left)):
        if x.op.name != "mul" or x.kind != "real":
            continue
        for factor, rest in (x.args, x.args[::-1]):
            has, left_over = ("".join(_letters(a, x, list(own))) for a in (factor, rest))
            if has and rest.kind == "real" and set(has) <= set(others) and set(left_over) < set(own):
                scaled = do("mul", _aligned(_without_ones(factor, x), has, others), other)
                return contract(_without_ones(rest, x), scaled, left_over, others, result)
    return None


def _aligned(x: Expr, have: str, want: str) -> Expr:
    """The axes in the order of ``want``, with axes of size 1 where there are none."""
    order = "".join(c for c in want if c in have)
    moved = _permuted(x, have, order)
    sizes = dict(zip(order, moved.shape, strict=True))
    return reshape_to(moved, tuple(sizes.get(c, 1) for c in want))


def times_identity(e: Expr) -> Expr | None:
    """``A @ I`` is ``A``."""
    left, right, result = split_spec(e.params["spec"])
    for x, other, own, letters in ((e.args[1], e.args[0], right, left), (e.args[0], e.args[1], left, right)):
        if see(x).op.name != "eye" or x.shape[0] != x.shape[1]:
            continue
        for k, c in ((own[0], own[1]), (own[1], own[0])):
            if k in letters and k not in result and c in result and c not in letters:
                renamed = letters.replace(k, c)
                if sorted(renamed) == sorted(result):
                    order = tuple(renamed.index(r) - len(renamed) for r in result)
                    return other if renamed == result else do("transpose", other, axes=order)
    return None


CONTRACTIONS: tuple[Rule, ...] = (
    Rule("sum of product",         CHEAPER,  ("sum",),      _sum_of_product,         "sum(A*v, axis=1)", late=0),
    Rule("sum of contraction",     CHEAPER,  ("sum",),      _sum_of_contraction,     "sum(A @ B, axis=0)"),
    Rule("contract transposed",    CHEAPER,  ("contract",), _contract_transposed,    "A.T @ A"),
    Rule("transposed contract",    CHEAPER,  ("transpose",), _transposed_contract,    "(A @ B).T"),
    Rule("contract negative",      CHEAPER,  ("contract",), _contract_negative,      "A @ (-v)"),
    Rule("contract scaled",        CHEAPER,  ("contract",), _contract_scaled,        "A @ (3*v)"),
    Rule("contract nothing",       CHEAPER,  ("contract",), _contract_nothing,
         sample(lambda A, v, s: do("contract", s, v, spec=",i->i"))),
    Rule("contract zeros",         CHEAPER,  ("contract",), _contract_zeros,         "A @ broadcast_to(0, (3,))"),
    Rule("contract ones",          CHEAPER,  ("contract",), _contract_ones,          "A @ broadcast_to(s, (3,))"),
    Rule("contract repeated",      CHEAPER,  ("contract",), _contract_repeated,
         sample(lambda A, v, s: do("contract", A, do("broadcast_to", v, shape=(2, 3)), spec="ij,ij->i"))),
    Rule("contract factor",        CHEAPER,  ("contract",), _contract_factor,
         sample(lambda A, v, s: do("contract", A[:, :, None] * v, A, spec="ijk,ik->jk"))),
    Rule("contract eye",           CHEAPER,  ("contract",), times_identity,           "A @ eye(3)"),
)  # fmt: skip
