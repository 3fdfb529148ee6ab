"""OPS: what can stand in a formula. One record an op, one family a file; the rules are expressions themselves.

    elementwise             logic, comparison, arithmetic, identities
    elementwise_functions   powers, exponentials, trigonometric, hyperbolic and special functions
    elementwise_activations sigmoid, relu and their kin
    movement, shape         the same elements elsewhere: reshape, slice, pad, concatenate, gather, …
    reduce                  sum, max, softmax, norm, …
    linear                  the contraction: dot, matmul, einsum, …
    linalg                  inverse, determinant, linear systems, Cholesky factor, trace
    functions               what is built from them, NumPy's other names, and the tables of methods

Importing this package registers every record and fills the tables of methods of :class:`~symgrad.expr.Expr`.
"""

from __future__ import annotations

from symgrad.ops import elementwise, elementwise_activations, elementwise_functions, functions, indexing, linear, reduce, shape
from symgrad.ops.elementwise import *  # noqa: F403
from symgrad.ops.elementwise_activations import *  # noqa: F403
from symgrad.ops.elementwise_functions import *  # noqa: F403
from symgrad.ops.functions import *  # noqa: F403
from symgrad.ops.indexing import *  # noqa: F403
from symgrad.ops.linalg import trace as trace
from symgrad.ops.linalg import tril as tril
from symgrad.ops.linalg import triu as triu
from symgrad.ops.linear import *  # noqa: F403
from symgrad.ops.reduce import *  # noqa: F403
from symgrad.ops.shape import *  # noqa: F403

_INTERNAL = {"getitem", "IndexRangeError"}
__all__ = sorted(  # noqa: PLE0605
    {
        name
        for module in (elementwise, elementwise_activations, elementwise_functions, functions, indexing, linear, reduce, shape)
        for name in module.__all__
    }
    - _INTERNAL
    | {"trace", "tril", "triu"}
)
