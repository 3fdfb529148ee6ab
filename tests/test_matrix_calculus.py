"""Gradients and Hessians of matrix expressions come in the closed forms of the textbooks, and are right.

MC: K. B. Petersen and M. S. Pedersen, "The matrix cookbook" (version of November 15, 2012), by equation.
MN: J. R. Magnus and H. Neudecker, "Matrix differential calculus with applications in statistics and econometrics" (3rd edition, 2007).
A formula is written once, for symgrad and for JAX: ``o`` has the functions of either.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import Expr, topological
from symgrad.simplify.sharing import share_products

SIZES: dict[Any, int] = {"n": 4, "m": 5, "k": 3, "h": 2, "batch": 6, 3: 3}
SHAPES: dict[str, Any] = {
    **dict.fromkeys("ABCDXWSP", ("n", "n")), **dict.fromkeys(("a", "b", "c", "d", "x", "s", "w", "mu"), ("n",)), "t": ("m",), "y": ("m",),
    "F": ("m", "n"), "G": ("n", "k"), "Y": ("m", "k"), "H": ("m", "h"), "W1": ("n", "h"), "W2": ("h", "k"), "lam": (),
    "Q": ("n", "n"), "K": ("m", "m"), "M": ("h", "h"), "F2": ("m", "n"), "L": ("n", "h"), "U": ("n", "h"), "V": ("h", "n"),
    **dict.fromkeys(("Hq", "Hk", "Hv"), ("m", "h")), **dict.fromkeys(("z", "nu"), ("n",)), **dict.fromkeys(("q", "r"), ("m",)), "u": ("h",),
    **dict.fromkeys(("alpha", "beta"), ()), "Xb": ("batch", 3), "A3": (3, 3), "mu3": (3,),
}  # fmt: skip
OURS = SimpleNamespace(
    inv=sg.linalg.inv, det=sg.linalg.det, logdet=sg.linalg.logdet, solve=sg.linalg.solve, cholesky=sg.linalg.cholesky, trace=sg.trace,
    sum=sg.sum, norm=sg.norm, exp=sg.exp, log=sg.log, tanh=sg.tanh, softplus=sg.softplus, logsumexp=sg.logsumexp,
    log_softmax=sg.log_softmax, outer=sg.outer, mean=sg.mean, diag=sg.diag, sqrt=sg.sqrt, var=sg.var, softmax=sg.softmax, einsum=sg.einsum,
    tril=sg.linalg.tril, I=lambda X: sg.eye(X.shape[0]),
)  # fmt: skip


class Case(NamedTuple):
    source: str
    formula: Callable[..., Any]
    wrt: str
    text: str
    latex: str = ""


FIRST = [
    # of a vector
    Case("MC 69", lambda o, x, a: x @ a, "x", "a", "a"),
    Case("MC 81", lambda o, x, B: x @ B @ x, "x", "(B + B.T) @ x", r"(B + B^{\top}) x"),
    Case("MC 78", lambda o, x, B, C, D, b, d: (B @ x + b) @ C @ (D @ x + d), "x", "B.T @ (C @ (D @ x + d)) + D.T @ ((B @ x + b) @ C)"),
    Case("MC 84", lambda o, x, s, A, W: (x - A @ s) @ W @ (x - A @ s), "s", "-A.T @ ((W + W.T) @ (x - A @ s))"),
    Case("MC 85", lambda o, x, s, W: (x - s) @ W @ (x - s), "x", "(W + W.T) @ (x - s)", r"(W + W^{\top}) (x - s)"),
    Case("MC 86", lambda o, x, s, W: (x - s) @ W @ (x - s), "s", "-(W + W.T) @ (x - s)"),
    Case("MC 88", lambda o, x, s, A, W: (x - A @ s) @ W @ (x - A @ s), "A", "-outer((W + W.T) @ (x - A @ s), s)"),
    Case("MC 131", lambda o, x: o.norm(x) ** 2, "x", "2*x", "2 x"),
    Case("MN 9.9", lambda o, x: x @ x, "x", "2*x", "2 x"),
    Case("quartic", lambda o, x: (x @ x) ** 2, "x", "4*(x @ x)*x"),
    Case("log-sum-exp", lambda o, F, x: o.logsumexp(F @ x), "x", "F.T @ softmax(F @ x)"),
    # of a matrix, by vectors
    Case("MC 70", lambda o, a, X, b: a @ X @ b, "X", "outer(a, b)", r"a b^{\top}"),
    Case("MC 71", lambda o, a, X, b: a @ X.T @ b, "X", "outer(b, a)", r"b a^{\top}"),
    Case("MC 72", lambda o, a, X: a @ X @ a, "X", "outer(a, a)", r"a a^{\top}"),
    Case("MC 77", lambda o, b, X, c: b @ X.T @ X @ c, "X", "outer(X @ c, b) + outer(X @ b, c)"),
    Case("MC 82", lambda o, b, X, D, c: b @ X.T @ D @ X @ c, "X", "outer(D @ (X @ c), b) + outer(D.T @ (X @ b), c)"),
    Case("MC 83", lambda o, X, b, c, D: (X @ b + c) @ D @ (X @ b + c), "X", "outer((D + D.T) @ (X @ b + c), b)"),
    # traces
    Case("MC 99", lambda o, X: o.trace(X), "X", "eye(n)", "I_{n}"),
    Case("MC 100", lambda o, X, A: o.trace(X @ A), "X", "A.T", r"A^{\top}"),
    Case("MC 101", lambda o, A, X, B: o.trace(A @ X @ B), "X", "A.T @ B.T", r"A^{\top} B^{\top}"),
    Case("MC 102", lambda o, A, X, B: o.trace(A @ X.T @ B), "X", "B @ A", "B A"),
    Case("MC 103", lambda o, X, A: o.trace(X.T @ A), "X", "A", "A"),
    Case("MC 104", lambda o, A, X: o.trace(A @ X.T), "X", "A", "A"),
    Case("MC 106", lambda o, X: o.trace(X @ X), "X", "2*X.T", r"2 X^{\top}"),
    Case("MC 107", lambda o, X, B: o.trace(X @ X @ B), "X", "B.T @ X.T + X.T @ B.T", r"B^{\top} X^{\top} + X^{\top} B^{\top}"),
    Case("MC 108", lambda o, X, B: o.trace(X.T @ B @ X), "X", "(B + B.T) @ X", r"(B + B^{\top}) X"),
    Case("MC 109", lambda o, X, B: o.trace(B @ X @ X.T), "X", "(B + B.T) @ X", r"(B + B^{\top}) X"),
    Case("MC 111", lambda o, X, B: o.trace(X @ B @ X.T), "X", "X @ (B + B.T)", r"X (B + B^{\top})"),
    Case("MC 112", lambda o, X, B: o.trace(B @ X.T @ X), "X", "X @ (B + B.T)", r"X (B + B^{\top})"),
    Case("MC 114", lambda o, A, X, B: o.trace(A @ X @ B @ X), "X", "A.T @ X.T @ B.T + B.T @ (A @ X).T"),
    Case("MC 115", lambda o, X: o.trace(X.T @ X), "X", "2*X", "2 X"),
    Case("MC 116", lambda o, X, B, C: o.trace(X.T @ B @ X @ C), "X", "B @ X @ C + B.T @ X @ C.T"),
    Case("MC 118", lambda o, A, X, B, C: o.trace(A @ X @ B @ X.T @ C), "X", "A.T @ C.T @ X @ B.T + C @ A @ X @ B"),
    Case("MC 119", lambda o, A, X, B, C: o.trace((A @ X @ B + C) @ (A @ X @ B + C).T), "X", "2*A.T @ (A @ X @ B + C) @ B.T"),
    Case("MC 121", lambda o, X: o.trace(X @ X @ X), "X", "3*X.T @ X.T"),
    Case("MC 132", lambda o, X: o.norm(X) ** 2, "X", "2*X", "2 X"),
    # inverses
    Case("MC 61", lambda o, a, X, b: a @ o.inv(X) @ b, "X", "-outer(inv(X).T @ a, inv(X) @ b)", r"-X^{-\top} a b^{\top} X^{-\top}"),
    Case("MC 63", lambda o, A, X, B: o.trace(A @ o.inv(X) @ B), "X", "-inv(X).T @ A.T @ B.T @ inv(X).T"),
    Case("MC 64", lambda o, X, A: o.trace(o.inv(X + A)), "X", "-inv(X + A).T @ inv(X + A).T", r"-(X + A)^{-\top} (X + A)^{-\top}"),
    Case("MC 61, solved", lambda o, a, A, b: a @ o.solve(A, b), "A", "-outer(solve(A.T, a), solve(A, b))"),
    Case("MC 69, solved", lambda o, a, A, b: a @ o.solve(A, b), "b", "solve(A.T, a)", r"A^{-\top} a"),
    # determinants
    Case("MC 49", lambda o, X: o.det(X), "X", "det(X)*inv(X).T", r"\det(X) X^{-\top}"),
    Case("MC 51", lambda o, A, X, B: o.det(A @ X @ B), "X", "det(A @ X @ B)*inv(X).T"),
    Case("MC 55", lambda o, F: o.logdet(F.T @ F), "F", "2*F @ inv(F.T @ F)", r"2 F (F^{\top} F)^{-1}"),
    Case("MC 57", lambda o, X: o.logdet(X), "X", "inv(X).T", r"X^{-\top}"),
    Case("MC 57, inverse", lambda o, X: o.logdet(o.inv(X)), "X", "-inv(X).T", r"-X^{-\top}"),
    Case("MC 57, log", lambda o, X: o.log(o.det(X @ X.T)), "X", "2*inv(X).T"),
    # statistics and learning
    Case("least squares", lambda o, F, x, t: o.sum((F @ x - t) ** 2), "x", "2*F.T @ (F @ x - t)", r"2 F^{\top} (F x - t)"),
    Case("least squares, as a product", lambda o, F, x, t: (F @ x - t) @ (F @ x - t), "x", "2*F.T @ (F @ x - t)"),
    Case("mean squares", lambda o, F, w, y: o.mean((F @ w - y) ** 2), "w", "2/m*F.T @ (F @ w - y)"),
    Case("ridge", lambda o, F, w, y, lam: o.sum((F @ w - y) ** 2) + lam * o.sum(w**2), "w", "2*F.T @ (F @ w - y) + 2*lam*w"),
    Case("ridge, norms", lambda o, F, w, y, lam: o.norm(F @ w - y) ** 2 + lam * o.norm(w) ** 2, "w", "2*F.T @ (F @ w - y) + 2*lam*w"),
    Case("several responses", lambda o, F, G, Y: o.sum((F @ G - Y) ** 2), "G", "2*F.T @ (F @ G - Y)"),
    Case("matrix factors", lambda o, Y, H, W2: o.sum((Y - H @ W2) ** 2), "H", "-2*(Y - H @ W2) @ W2.T"),
    Case("logistic regression", lambda o, F, w, y: o.sum(o.softplus(F @ w) - y * (F @ w)), "w", "F.T @ (sigmoid(F @ w) - y)"),
    Case("softmax regression", lambda o, F, G, Y: -o.sum(Y * o.log_softmax(F @ G)), "G",
         "F.T @ (sum(Y, axis=1, keepdims=True) * softmax(F @ G) - Y)"),
    Case("Gaussian, mean", lambda o, x, mu, S: ((x - mu) @ o.inv(S) @ (x - mu) + o.logdet(S)) / 2, "mu",
         "-1/2*(inv(S) + inv(S).T) @ (x - mu)"),
    Case("Gaussian, covariance", lambda o, x, mu, S: ((x - mu) @ o.inv(S) @ (x - mu) + o.logdet(S)) / 2, "S",
         "(inv(S).T - outer(inv(S).T @ (x - mu), inv(S) @ (x - mu)))/2"),
    Case("Gaussian, precision", lambda o, x, mu, P: ((x - mu) @ P @ (x - mu) - o.logdet(P)) / 2, "P",
         "(outer(x - mu, x - mu) - inv(P).T)/2"),
    Case("Gaussian, solved", lambda o, x, mu, S: ((x - mu) @ o.solve(S, x - mu) + o.logdet(S)) / 2, "mu",
         "-(solve(S.T, x - mu) + solve(S, x - mu))/2"),
    Case("two layers, second", lambda o, F, W1, W2, Y: o.sum((o.tanh(F @ W1) @ W2 - Y) ** 2) / 2, "W2",
         "tanh(F @ W1).T @ (tanh(F @ W1) @ W2 - Y)"),
    Case("two layers, first", lambda o, F, W1, W2, Y: o.sum((o.tanh(F @ W1) @ W2 - Y) ** 2) / 2, "W1",
         "F.T @ (((tanh(F @ W1) @ W2 - Y) @ W2.T) * (1 - tanh(F @ W1)**2))"),
]  # fmt: skip
FURTHER = [  # of what these stand for
    Case("MC 52", lambda o, X, A: o.det(X.T @ A @ X), "X", "2*det(X.T @ A @ X)*inv(X).T", r"2 \det(X^{\top} A X) X^{-\top}"),
    Case("MC 54", lambda o, F, K: o.det(F.T @ K @ F), "F", "det(F.T @ K @ F)*(K @ F @ inv(F.T @ K @ F) + K.T @ F @ inv(F.T @ K @ F).T)"),
    Case("MC 58", lambda o, X: o.det(X @ X @ X), "X", "3*det(X @ X @ X)*inv(X).T", r"3 \det(X X X) X^{-\top}"),
    Case("determinant, scaled", lambda o, X, alpha: o.det(alpha * X), "X", "det(alpha*X)*inv(X).T", r"\det(\alpha X) X^{-\top}"),
    Case("determinant squared", lambda o, X: o.det(X) ** 2, "X", "2*det(X)**2*inv(X).T", r"2 \det(X)^{2} X^{-\top}"),
    Case("reciprocal of a determinant", lambda o, X: 1 / o.det(X), "X", "-inv(X).T/det(X)", r"-\frac{X^{-\top}}{\det(X)}"),
    Case("determinant, updated", lambda o, A, x, a: o.det(A + o.outer(x, a)), "x", "det(A + outer(x, a))*inv(A + outer(x, a)).T @ a"),
    Case("Sylvester", lambda o, F: o.logdet(o.I(F) + F @ F.T), "F", "2*inv(eye(m) + F @ F.T) @ F", r"2 (I_{m} + F F^{\top})^{-1} F"),
    Case("log of a determinant", lambda o, F, K: o.logdet(F.T @ K @ F), "F", "K @ F @ inv(F.T @ K @ F) + K.T @ F @ inv(F.T @ K @ F).T"),
    Case("factors", lambda o, A, L, M: o.logdet(A + L @ M @ L.T), "L", "inv(A + L @ M @ L.T).T @ L @ M.T + inv(A + L @ M @ L.T) @ L @ M"),
    Case("factors, inside", lambda o, A, L, M: o.logdet(A + L @ M @ L.T), "M", "L.T @ inv(A + L @ M @ L.T).T @ L"),
    Case("volume", lambda o, X, alpha: o.logdet(alpha * X), "alpha", "n/alpha", r"\frac{n}{\alpha}"),
    Case("ridge of a determinant", lambda o, A, lam: o.logdet(A + lam * o.I(A)), "lam", "trace(inv(A + lam*eye(n)))"),
    Case("diagonal added", lambda o, K, t: o.logdet(K + o.diag(t)), "t", "diagonal(inv(K + diag(t)))"),
    Case("MC 125", lambda o, A, X, C: o.trace(o.inv(X.T @ C @ X) @ A), "X",
         "-inv(X).T @ A @ inv(X.T @ C.T @ X).T - inv(X).T @ A.T @ inv(X.T @ C.T @ X)"),
    Case("sum of an inverse", lambda o, X: o.sum(o.inv(X)), "X", "-outer(sum(inv(X), axis=0), sum(inv(X), axis=1))"),
    Case("MC 62", lambda o, X: o.det(o.inv(X)), "X", "-inv(X).T/det(X)", r"-\frac{X^{-\top}}{\det(X)}"),
    Case("log of a form", lambda o, x, A: o.log(x @ o.inv(A) @ x), "A", "-outer(x @ inv(A), inv(A) @ x)/(x @ inv(A) @ x)"),
    Case("log of a form, vector", lambda o, x, A: o.log(x @ o.inv(A) @ x), "x", "((inv(A) + inv(A).T) @ x)/(x @ inv(A) @ x)"),
    Case("parallel sum", lambda o, X, A: o.trace(o.inv(o.inv(X) + o.inv(A))), "X",
         "inv(X).T @ inv(inv(X) + inv(A)).T @ inv(inv(X) + inv(A)).T @ inv(X).T"),
    Case("length of an inverse", lambda o, X: o.norm(o.inv(X)) ** 2, "X",
         "-2*inv(X).T @ inv(X) @ inv(X).T", r"-2 X^{-\top} X^{-1} X^{-\top}"),
    Case("inverse of a Gram matrix", lambda o, X, a, b: a @ o.inv(X.T @ X) @ b, "X",
         "-outer(inv(X).T @ b, inv(X.T @ X) @ a) - outer(inv(X).T @ a, inv(X.T @ X) @ b)"),
    Case("residual", lambda o, F, y: y @ y - y @ F @ o.inv(F.T @ F) @ F.T @ y, "y",
         "2*(y - F @ (inv(F.T @ F) @ (y @ F)))", r"2 (y - F (F^{\top} F)^{-1} F^{\top} y)"),
    Case("projection", lambda o, F, y: y @ F @ o.inv(F.T @ F) @ F.T @ y, "F",
         "2*outer(y - F @ (inv(F.T @ F) @ (y @ F)), inv(F.T @ F) @ (y @ F))"),
    Case("MC 129", lambda o, x, a: o.norm(x - a), "x", "(x - a)/norm(x - a)"),
    Case("distance", lambda o, F, x, y: o.norm(F @ x - y), "F", "outer((F @ x - y)/norm(F @ x - y), x)"),
    Case("root of a square", lambda o, x: o.sqrt(x @ x), "x", "x/sqrt(x @ x)", r"\frac{x}{\sqrt{x^{\top} x}}"),
    Case("Coulomb", lambda o, x: 1 / o.norm(x), "x", "-x/norm(x)**3", r"-\frac{x}{\left\lVert x \right\rVert^{3}}"),
    Case("two projections", lambda o, x, a, b: (a @ x) * (b @ x), "x", "(b @ x)*a + (a @ x)*b", r"(b^{\top} x) a + (a^{\top} x) b"),
    Case("product of forms", lambda o, x, A, B: (x @ A @ x) * (x @ B @ x), "x", "(x @ B @ x)*(A + A.T) @ x + (x @ A @ x)*(B + B.T) @ x"),
    Case("neuron", lambda o, x, a: o.tanh(a @ x), "x", "(1 - tanh(a @ x)**2)*a", r"(1 - \tanh^{2}(a^{\top} x)) a"),
    Case("Gaussian, unnormalised", lambda o, x, A: o.exp(-(x @ A @ x)), "x",
         "-exp(-x @ A @ x)*(A + A.T) @ x", r"-e^{-x^{\top} A x} (A + A^{\top}) x"),
    Case("kernel", lambda o, x, a, lam: o.exp(-lam * o.norm(x - a) ** 2), "x", "-2*lam*exp(-lam*norm(x - a)**2)*(x - a)"),
    Case("log of a form, plain", lambda o, x, A: o.log(x @ A @ x), "x",
         "((A + A.T) @ x)/(x @ A @ x)", r"\frac{(A + A^{\top}) x}{x^{\top} A x}"),
    Case("Mahalanobis", lambda o, x, mu, S: o.sqrt((x - mu) @ o.inv(S) @ (x - mu)), "x",
         "((inv(S) + inv(S).T) @ (x - mu))/(2*sqrt((x - mu) @ inv(S) @ (x - mu)))"),
    Case("Mahalanobis, precision", lambda o, x, mu, P: o.sqrt((x - mu) @ P @ (x - mu)), "P",
         "outer(x - mu, x - mu)/(2*sqrt((x - mu) @ P @ (x - mu)))"),
    Case("learnt metric", lambda o, x, mu, L: o.sum((L.T @ (x - mu)) ** 2), "L",
         "2*outer(x - mu, L.T @ (x - mu))", r"2 (x - \mu) (x - \mu)^{\top} L"),
    Case("Rayleigh", lambda o, x, A: (x @ A @ x) / (x @ x), "x", "((A + A.T) @ x)/(x @ x) - 2*(x @ A @ x)*x/(x @ x)**2"),
    Case("Fisher's discriminant", lambda o, w, B, S: (w @ B @ w) / (w @ S @ w), "w",
         "((B + B.T) @ w)/(w @ S @ w) - (w @ B @ w)*((S + S.T) @ w)/(w @ S @ w)**2"),
    Case("reciprocal of a form", lambda o, x, A: 1 / (x @ A @ x), "A",
         "-outer(x, x)/(x @ A @ x)**2", r"-\frac{x x^{\top}}{(x^{\top} A x)^{2}}"),
    Case("cosine", lambda o, x, a: (x @ a) / (o.norm(x) * o.norm(a)), "x", "a/(norm(x)*norm(a)) - (x @ a)*x/(norm(x)**3*norm(a))"),
    Case("MC 91", lambda o, a, X, b: a @ X @ X @ X @ b, "X", "outer(a, X @ (X @ b)) + outer(a @ X, X @ b) + outer(a @ X @ X, b)"),
    Case("scaled form", lambda o, x, z, A: (x * z) @ A @ (x * z), "x",
         "z * ((A + A.T) @ (x * z))", r"z \odot ((A + A^{\top}) (x \odot z))"),
    Case("masked form", lambda o, x, A, B: x @ (A * B) @ x, "A", "B * outer(x, x)", r"B \odot (x x^{\top})"),
    Case("diagonal", lambda o, x, A: o.trace(o.diag(x) @ A), "x", "diagonal(A)"),
    Case("diagonal, between", lambda o, x, A, b, d: b @ o.diag(x) @ A @ d, "x", "b * (A @ d)", r"b \odot (A d)"),
    Case("double well", lambda o, x, A: (x @ x) ** 2 - x @ A @ x, "x",
         "4*(x @ x)*x - (A + A.T) @ x", r"4 (x^{\top} x) x - (A + A^{\top}) x"),
    Case("MC 117", lambda o, X, B: o.trace(X.T @ B @ X @ X.T @ B @ X), "X", "2*(B @ X @ (X.T @ B.T @ X).T + B.T @ X @ X.T @ B.T @ X)"),
    Case("MC 122", lambda o, A, X: o.trace(A @ X @ X @ X), "X", "A.T @ X.T @ X.T + (A @ X).T @ X.T + X.T @ (A @ X).T"),
    Case("MC 121, fourth", lambda o, X: o.trace(X @ X @ X @ X), "X", "4*X.T @ X.T @ X.T", r"4 X^{\top} X^{\top} X^{\top}"),
    Case("trace squared", lambda o, X: o.trace(X.T @ X) ** 2, "X", "4*trace(X.T @ X)*X"),
    Case("trace squared, linear", lambda o, A, X: o.trace(A @ X) ** 2, "X", "2*trace(A @ X)*A.T"),
    Case("log of a trace", lambda o, A, X: o.log(o.trace(A @ X)), "X", "A.T/trace(A @ X)"),
    Case("quotient of traces", lambda o, F, K: o.trace(F.T @ K @ F) / o.trace(F.T @ F), "F",
         "((K + K.T) @ F)/trace(F.T @ F) - 2*trace(F.T @ K @ F)*F/trace(F.T @ F)**2"),
    Case("forms of rows", lambda o, F, A: o.sum((F @ A) * F), "F", "F @ (A + A.T)", r"F (A + A^{\top})"),
    Case("commutator", lambda o, A, X: o.norm(A @ X - X @ A) ** 2, "X", "2*(A.T @ (A @ X - X @ A) - (A @ X - X @ A) @ A.T)"),
    Case("trace squared, plain", lambda o, X: o.trace(X) ** 2, "X", "2*trace(X)*eye(n)"),
    Case("Frobenius", lambda o, X: o.norm(X), "X", "X/norm(X)", r"\frac{X}{\left\lVert X \right\rVert}"),
    Case("Frobenius, both sides", lambda o, A, X, B, C: o.norm(A @ X @ B - C) ** 2, "X",
         "2*A.T @ (A @ X @ B - C) @ B.T", r"2 A^{\top} (A X B - C) B^{\top}"),
    Case("principal components", lambda o, F, L: o.norm(F - F @ L @ L.T) ** 2, "L",
         "-2*F.T @ (F - F @ L @ L.T) @ L - 2*(F - F @ L @ L.T).T @ F @ L"),
    Case("linear autoencoder", lambda o, F, L, V: o.sum((F - F @ L @ V) ** 2), "L",
         "-2*F.T @ (F - F @ L @ V) @ V.T", r"-2 F^{\top} (F - F L V) V^{\top}"),
    Case("factors, with ridge", lambda o, F, H, V, lam: o.norm(F - H @ V) ** 2 / 2 + lam / 2 * (o.norm(H) ** 2 + o.norm(V) ** 2), "V",
         "H.T @ (H @ V - F) + lam*V"),
    Case("factors, masked", lambda o, F2, F, H, V: o.sum(F2 * (F - H @ V) ** 2), "H",
         "-2*((F2 * (F - H @ V)) @ V.T)", r"-2 (F_{2} \odot (F - H V)) V^{\top}"),
    Case("Gaussian process", lambda o, K, y: 0.5 * (y @ o.inv(K) @ y) + 0.5 * o.logdet(K), "K",
         "0.5*(inv(K).T - outer(inv(K).T @ y, inv(K) @ y))"),
    Case("Gaussian process, data", lambda o, K, y: 0.5 * (y @ o.inv(K) @ y) + 0.5 * o.logdet(K), "y",
         "0.5*(inv(K) + inv(K).T) @ y", r"0.5 (K^{-1} + K^{-\top}) y"),
    Case("Wishart", lambda o, S, P, beta: beta * o.logdet(P) - 0.5 * o.trace(S @ P), "P",
         "beta*inv(P).T - 0.5*S.T", r"\beta P^{-\top} - 0.5 S^{\top}"),
    Case("Gaussian, mean of rows", lambda o, F, mu, S: 0.5 * o.trace((F - mu) @ o.inv(S) @ (F - mu).T), "mu",
         "-0.5*(inv(S) + inv(S).T) @ sum(F - mu, axis=0)"),
    Case("Kullback-Leibler",
         lambda o, mu, nu, S, P: 0.5 * (o.trace(o.inv(P) @ S) + (nu - mu) @ o.inv(P) @ (nu - mu) + o.logdet(P) - o.logdet(S)), "S",
         "0.5*(inv(P).T - inv(S).T)",
         r"0.5 (P^{-\top} - S^{-\top})"),
    Case("weighted least squares", lambda o, F, x, y, r: (F @ x - y) @ o.diag(r) @ (F @ x - y), "x",
         "2*F.T @ (r * (F @ x - y))", r"2 F^{\top} (r \odot (F x - y))"),
    Case("generalised least squares", lambda o, F, x, y, K: (y - F @ x) @ o.inv(K) @ (y - F @ x), "x",
         "-F.T @ ((inv(K) + inv(K).T) @ (y - F @ x))", r"-F^{\top} (K^{-1} + K^{-\top}) (y - F x)"),
    Case("kernel ridge", lambda o, K, q, y, lam: o.norm(y - K @ q) ** 2 + lam * (q @ K @ q), "q",
         "lam*(K + K.T) @ q - 2*K.T @ (y - K @ q)"),
    Case("Tikhonov", lambda o, F, x, y, A: o.norm(F @ x - y) ** 2 + o.norm(A @ x) ** 2, "x",
         "2*(F.T @ (F @ x - y) + A.T @ (A @ x))", r"2 (F^{\top} (F x - y) + A^{\top} A x)"),
    Case("multinomial", lambda o, F, G, Y: o.sum(o.logsumexp(F @ G, axis=1)) - o.trace(Y.T @ F @ G), "G", "F.T @ (softmax(F @ G) - Y)"),
    Case("Poisson", lambda o, F, w, y: o.sum(o.exp(F @ w) - y * (F @ w)), "w", "F.T @ (exp(F @ w) - y)", r"F^{\top} (e^{F w} - y)"),
    Case("independent components", lambda o, X, F: -o.logdet(X) + o.sum(o.log(1 + (F @ X) ** 2)), "X",
         "2*F.T @ ((F @ X) / (1 + (F @ X)**2)) - inv(X).T"),
    Case("scatter", lambda o, F: o.sum((F - o.mean(F, axis=0)) ** 2), "F", "2*(F - mean(F, axis=0))"),
    Case("scatter, determinant", lambda o, F: o.logdet((F - o.mean(F, axis=0)).T @ (F - o.mean(F, axis=0))), "F",
         "2*(F - mean(F, axis=0)) @ inv((F - mean(F, axis=0)).T @ (F - mean(F, axis=0)))"),
    Case("variance of a projection", lambda o, F, w: o.var(F @ w), "w", "2/m*F.T @ (F @ w - mean(F @ w, keepdims=True))"),
    Case("whitening", lambda o, X, F: o.norm(X @ F.T @ F @ X.T - o.I(X)) ** 2, "X", "4*(X @ F.T @ F @ X.T - eye(n)) @ X @ F.T @ F"),
    Case("lengths of rows", lambda o, F: o.sum(o.norm(F, axis=1)), "F", "F / norm(F, axis=1)[:, None]"),
    Case("Lyapunov", lambda o, A, X, Q: o.norm(A @ X + X @ A.T + Q) ** 2, "X",
         "2*(A.T @ (A @ X + X @ A.T + Q) + (A @ X + X @ A.T + Q) @ A)"),
    Case("Riccati", lambda o, A, X, x: x @ A.T @ X @ A @ x - x @ X @ x, "A",
         "outer((X + X.T) @ (A @ x), x)", r"(X + X^{\top}) A x x^{\top}"),
    Case("regulator", lambda o, x, u, A, U, P, Q, M: x @ Q @ x + u @ M @ u + (A @ x + U @ u) @ P @ (A @ x + U @ u), "u",
         "(M + M.T) @ u + U.T @ ((P + P.T) @ (A @ x + U @ u))"),
    Case("regulator, gain", lambda o, x, V, A, U, P: (A @ x - U @ (V @ x)) @ P @ (A @ x - U @ (V @ x)), "V",
         "-outer(U.T @ ((P + P.T) @ (A @ x - U @ (V @ x))), x)"),
    Case("closed loop", lambda o, V, A, U, P: o.trace((A - U @ V).T @ P @ (A - U @ V)), "V", "-U.T @ (P + P.T) @ (A - U @ V)"),
    Case("Kalman", lambda o, U, V, P, M: o.trace((o.I(P) - U @ V) @ P @ (o.I(P) - U @ V).T + U @ M @ U.T), "U",
         "U @ (M + M.T) - (eye(n) - U @ V) @ (P + P.T) @ V.T"),
    Case("Kalman, state", lambda o, V, P, M, u, x: (u - V @ x) @ o.inv(V @ P @ V.T + M) @ (u - V @ x), "x",
         "-V.T @ ((inv(V @ P @ V.T + M) + inv(V @ P @ V.T + M).T) @ (u - V @ x))"),
    Case("attention", lambda o, Hq, Hk, Hv, H: o.sum(H * (o.softmax(Hq @ Hk.T) @ Hv)), "Hv", "softmax(Hq @ Hk.T).T @ H"),
    Case("linear attention", lambda o, Hq, Hk, Hv, H: o.sum(H * (Hq @ (Hk.T @ Hv))), "Hk", "Hv @ H.T @ Hq"),
    Case("linear network", lambda o, F, W1, W2, Y: o.norm(F @ W1 @ W2 - Y) ** 2, "W1",
         "2*F.T @ (F @ W1 @ W2 - Y) @ W2.T", r"2 F^{\top} (F W_{1} W_{2} - Y) W_{2}^{\top}"),
    Case("bilinear pooling", lambda o, F, F2, A: o.sum(A * (F.T @ F2)), "F", "F2 @ A.T", r"F_{2} A^{\top}"),
    Case("residual network", lambda o, x, A, a: a @ (x + o.tanh(A @ x)), "A",
         "outer(a * (1 - tanh(A @ x)**2), x)", r"(a \odot (1 - \tanh^{2}(A x))) x^{\top}"),
    Case("named batch", lambda o, Xb, A3, mu3: o.mean(o.sum(((Xb - mu3) @ A3) * (Xb - mu3), axis=1)), "mu3",
         "-1/batch*(A3 + A3.T) @ sum(Xb - mu3, axis=0)"),
    Case("named batch, einsum", lambda o, Xb, A3: o.sum(o.einsum("bi,ij,bj->b", Xb, A3, Xb)), "Xb", "Xb @ (A3 + A3.T)"),
    Case("solved, matrix", lambda o, A, B, C: o.trace(B.T @ o.solve(A, C)), "A",
         "-solve(A.T, B) @ solve(A, C).T", r"-(A^{-\top} B) (A^{-1} C)^{\top}"),
    Case("solved, right-hand sides", lambda o, K, Y: o.sum(o.solve(K, Y) ** 2), "Y",
         "2*solve(K.T, solve(K, Y))", r"2 (K^{-\top} K^{-1} Y)"),
    Case("solved, length", lambda o, A, b: o.norm(o.solve(A, b)) ** 2, "A",
         "-2*outer(solve(A.T, solve(A, b)), solve(A, b))", r"-2 A^{-\top} A^{-1} b (A^{-1} b)^{\top}"),
    Case("reparametrisation", lambda o, mu, P, z, A: (mu + o.tril(P) @ z) @ A @ (mu + o.tril(P) @ z), "P",
         "tril(outer((A + A.T) @ (mu + tril(P) @ z), z))"),
]  # fmt: skip
SECOND = [
    Case("MC 97 (MN 10.3)", lambda o, x, A: x @ A @ x, "x", "A + A.T", r"A + A^{\top}"),
    Case("least squares", lambda o, F, x, t: o.sum((F @ x - t) ** 2), "x", "2*F.T @ F", r"2 F^{\top} F"),
    Case("quartic", lambda o, x: (x @ x) ** 2, "x", "8*outer(x, x) + 4*(x @ x)*eye(n)", r"8 x x^{\top} + 4 (x^{\top} x) I_{n}"),
    Case("inverse", lambda o, x, S: x @ o.inv(S) @ x, "x", "inv(S) + inv(S).T", r"S^{-1} + S^{-\top}"),
    Case("Gaussian", lambda o, x, mu, P: (x - mu) @ P @ (x - mu) / 2, "mu", "(P + P.T)/2"),
    Case("logistic regression", lambda o, F, x: o.sum(o.softplus(F @ x)), "x", "(F.T * sigmoid(F @ x) * (1 - sigmoid(F @ x))) @ F"),
    Case("ridge", lambda o, F, x, y, lam: o.norm(F @ x - y) ** 2 + lam * o.norm(x) ** 2, "x", "2*F.T @ F + 2*lam*eye(n)"),
    Case("weighted least squares", lambda o, F, x, y, r: o.sum(r * (F @ x - y) ** 2), "x", "2*((F.T * r) @ F)", r"2 (F^{\top} \odot r) F"),
    Case("exponential", lambda o, x, a: o.exp(a @ x), "x", "exp(a @ x)*outer(a, a)", r"e^{a^{\top} x} a a^{\top}"),
    Case("bell", lambda o, x: o.exp(-(x @ x) / 2), "x", "exp((-x @ x)/2)*(outer(x, x) - eye(n))"),
    Case("cubic", lambda o, x, a: (a @ x) ** 3, "x", "6*(a @ x)*outer(a, a)", r"6 a^{\top} x a a^{\top}"),
    Case("generalised least squares", lambda o, F, x, y, K: (y - F @ x) @ o.inv(K) @ (y - F @ x), "x",
         "F.T @ (inv(K) + inv(K).T) @ F", r"F^{\top} (K^{-1} + K^{-\top}) F"),
    Case("kernel ridge", lambda o, K, q, y, lam: o.norm(y - K @ q) ** 2 + lam * (q @ K @ q), "q", "lam*(K + K.T) + 2*K.T @ K"),
    Case("log of a form", lambda o, x, A: o.log(x @ A @ x), "x",
         "(A + A.T)/(x @ A @ x) - outer(((A + A.T) @ x)/(x @ A @ x)**2, (A + A.T) @ x)"),
    Case("regulator", lambda o, x, u, A, U, P, Q, M: u @ M @ u + (A @ x + U @ u) @ P @ (A @ x + U @ u), "u",
         "M + M.T + U.T @ (P + P.T) @ U"),
]  # fmt: skip


def names_of(case: Case) -> list[str]:
    return list(inspect.signature(case.formula).parameters)[1:]


def symbols_of(case: Case) -> dict[str, Expr]:
    return {name: sg.symbol(name, SHAPES[name]) for name in names_of(case)}


def values_of(case: Case) -> dict[str, np.ndarray]:
    """Square matrices near the identity, so that inverses and determinants are harmless."""
    rng = np.random.default_rng(len(case.source) + len(case.text))
    values = {}
    for name in names_of(case):
        shape = tuple(SIZES[d] for d in SHAPES[name])
        values[name] = rng.normal(size=shape) / 2 + (1.5 * np.eye(*shape) if len(shape) == 2 and shape[0] == shape[1] else 0)
    return values


def difference(y: Expr, values: dict[Expr, np.ndarray], wrt: Expr, direction: np.ndarray) -> np.ndarray:
    step = 1e-5
    ahead, behind = ({**values, wrt: values[wrt] + sign * step * direction} for sign in (1, -1))
    return (evaluate(y, ahead) - evaluate(y, behind)) / (2 * step)


each_first = pytest.mark.parametrize("case", [*FIRST, *FURTHER], ids=lambda c: f"{c.source}: {c.wrt}")
SLOWLY = [pytest.param(case, marks=pytest.mark.slow) for case in FURTHER]
each_second = pytest.mark.parametrize("case", SECOND, ids=lambda c: c.source)


@each_first
def test_gradient_in_closed_form(case: Case) -> None:
    symbols = symbols_of(case)
    gradient = sg.grad(case.formula(OURS, **symbols), symbols[case.wrt])
    assert str(gradient) == case.text
    if case.latex:
        assert gradient.latex() == case.latex


@each_first
def test_gradient_is_right(case: Case) -> None:
    symbols, given = symbols_of(case), values_of(case)
    y, wrt = case.formula(OURS, **symbols), symbols[case.wrt]
    values = {symbols[name]: v for name, v in given.items()}
    gradient = sg.grad(y, wrt)
    rng = np.random.default_rng(0)
    found = evaluate(gradient, values)
    for _ in range(2):
        direction = rng.normal(size=values[wrt].shape)
        assert np.sum(found * direction) == pytest.approx(float(difference(y, values, wrt, direction)), rel=1e-6, abs=1e-7)
    np.testing.assert_allclose(found, evaluate(sg.grad(y, wrt, simplify=False), values), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", [*FIRST, *SLOWLY], ids=lambda c: f"{c.source}: {c.wrt}")
def test_gradient_compiles(case: Case) -> None:
    symbols, given = symbols_of(case), values_of(case)
    y, wrt = case.formula(OURS, **symbols), symbols[case.wrt]
    f = sg.compile(y, list(symbols.values()), wrt=wrt, cache=False)
    value, gradient = f.value_and_grad(*given.values())
    values = {symbols[name]: v for name, v in given.items()}
    assert value == pytest.approx(float(evaluate(y, values)), rel=1e-10, abs=1e-12)
    np.testing.assert_allclose(gradient, evaluate(sg.grad(y, wrt), values), rtol=1e-9, atol=1e-11)


@each_second
def test_hessian_in_closed_form(case: Case) -> None:
    symbols = symbols_of(case)
    hessian = sg.hessian(case.formula(OURS, **symbols), symbols[case.wrt])
    assert str(hessian) == case.text
    if case.latex:
        assert hessian.latex() == case.latex


@each_second
def test_hessian_is_right(case: Case) -> None:
    symbols, given = symbols_of(case), values_of(case)
    y, wrt = case.formula(OURS, **symbols), symbols[case.wrt]
    values = {symbols[name]: v for name, v in given.items()}
    direction = np.random.default_rng(0).normal(size=values[wrt].shape)
    wanted = difference(sg.grad(y, wrt), values, wrt, direction)
    np.testing.assert_allclose(evaluate(sg.hessian(y, wrt), values) @ direction, wanted, rtol=1e-6, atol=1e-7)
    f = sg.compile(y, list(symbols.values()), wrt=wrt, cache=False)
    np.testing.assert_allclose(f.hessian(*given.values()) @ direction, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("formula", "text"), [
    (lambda A, x: A @ x, "A"),
    (lambda A, x: sg.linalg.solve(A, x), "inv(A)"),
    (lambda A, x: x * (x @ x), "2*outer(x, x) + (x @ x)*eye(n)"),
    (lambda A, x: sg.tanh(x), "diag(1 - tanh(x)**2)"),
    (lambda A, x: x / sg.norm(x), "eye(n)/norm(x) - outer(x, x)/norm(x)**3"),
    (lambda A, x: x * (A @ x), "A * x[:, None] + diag(A @ x)"),
    (lambda A, x: A @ (A @ x), "A @ A"),
    (lambda A, x: (x @ A @ x) * sg.symbol("b", "n"), "outer(b, (A + A.T) @ x)"),
])  # fmt: skip
def test_jacobians_in_closed_form(formula: Callable[..., Expr], text: str) -> None:
    assert str(sg.jacobian(formula(sg.symbol("A", ("n", "n")), x := sg.symbol("x", "n")), x)) == text


@pytest.mark.parametrize(("text", "simpler"), [
    ("inv(inv(A))", "A"), ("inv(A.T)", "inv(A).T"), ("inv(-A)", "-inv(A)"), ("inv(2*A)", "0.5*inv(A)"), ("inv(A) @ A", "eye(3)"),
    ("A @ inv(A)", "eye(3)"), ("A.T @ inv(A)", "A.T @ inv(A)"), ("inv(A @ A.T).T", "inv(A @ A.T)"), ("inv(A).T", "inv(A).T"),
    ("solve(A, eye(3))", "inv(A)"), ("solve(eye(3), b)", "b"), ("solve(A, -b)", "-solve(A, b)"),
    ("solve(A, b) + solve(A, c)", "solve(A, b + c)"), ("det(A.T)", "det(A)"), ("det(inv(A))", "1/det(A)"), ("logdet(inv(A))", "-logdet(A)"),
    ("trace(A.T)", "trace(A)"), ("trace(eye(3))", "3"), ("log(det(A))", "logdet(A)"), ("log(abs(det(A)))", "logdet(A)"),
    ("inv(A @ B) @ A", "inv(B)"), ("A @ inv(B @ A)", "inv(B)"), ("inv(B @ A).T @ A.T", "inv(B).T"),
    ("B @ (A @ inv(B @ A))", "eye(3)"), ("B @ inv(A.T @ B @ A) @ A.T", "B @ inv(B @ A)"), ("A @ inv(B)", "A @ inv(B)"),
    ("diag(b) @ A @ diag(c)", "b[:, None] * A * c"), ("trace(diag(b) @ A)", "trace(b[:, None] * A)"), ("diagonal(outer(b, c))", "b * c"),
    ("sum(A * inv(A).T)", "3"), ("sum(A * eye(3))", "trace(A)"), ("outer(b, c) @ A", "outer(b, A.T @ c)"),
    ("A @ B @ b + A @ (B @ b)", "2*(A @ B @ b)"), ("(A @ B - B.T).T", "B.T @ A.T - B"), ("sum(A @ B, axis=0)", "B.T @ sum(A, axis=0)"),
    ("(outer(b, c) + 2*eye(3)) @ A", "outer(b, A.T @ c) + 2*A"), ("trace(A - outer(b, c))", "trace(A) - b @ c"),
    ("A @ b + A @ c", "A @ (b + c)"), ("A @ b - B @ b", "(A - B) @ b"), ("A @ B + B @ A", "A @ B + B @ A"),
])  # fmt: skip
def test_algebra_of_matrices(text: str, simpler: str) -> None:
    shapes = {"A": (3, 3), "B": (3, 3), "b": 3, "c": 3}
    before = sg.parse(text, shapes)
    after = sg.simplify(before)
    assert str(after) == simpler
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape) + (2 * np.eye(3) if shape == (3, 3) else 0) for name, shape in shapes.items()}
    values["A"] *= np.sign(np.linalg.det(values["A"]))
    np.testing.assert_allclose(evaluate(after, values), evaluate(before, values), rtol=1e-11, atol=1e-13)


# --- lengths and directions -------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "text"), [
    (lambda F, x, a: sg.norm(x), "x/norm(x)"),
    (lambda F, x, a: sg.norm(x - a), "(x - a)/norm(x - a)"),
    (lambda F, x, a: sg.norm(F @ x), "F.T @ ((F @ x)/norm(F @ x))"),
    (lambda F, x, a: sg.norm(x) ** 3, "3*norm(x)*x"),
    (lambda F, x, a: sg.exp(-sg.norm(x - a) ** 2), "-2*exp(-norm(x - a)**2)*(x - a)"),
    (lambda F, x, a: sg.sum(sg.norm(F * x, axis=1) ** 2), "2*sum(F**2 * x, axis=0)"),
    (lambda F, x, a: sg.norm(x - a) / 2 + sg.norm(a - x) / 2, "((x - a)/norm(x - a) - (a - x)/norm(a - x))/2"),
])  # fmt: skip
def test_a_direction_is_a_quotient_and_zero_at_zero(length: Callable[..., Expr], text: str) -> None:
    F, x, a = sg.symbol("F", ("m", "n")), sg.symbol("x", "n"), sg.symbol("a", "n")
    y = length(F, x, a)
    assert str(sg.grad(y, x)) == text
    values = {F: np.ones((2, 3)), x: np.zeros(3), a: np.zeros(3)}
    at_zero = {s: values[s] for s in sg.grad(y, x).free_symbols | {x}}
    np.testing.assert_array_equal(evaluate(sg.grad(y, x), at_zero), np.zeros(3))
    f = sg.compile(y, wrt=x, cache=False)
    np.testing.assert_array_equal(f.grad(*[values[s] for s in f.inputs]), np.zeros(3))


def test_the_second_derivative_of_a_length_is_zero_at_zero() -> None:
    x = sg.symbol("x", 3)
    assert not np.any(evaluate(sg.hessian(sg.norm(x), x), {x: np.zeros(3)}))


# --- what is shown is not always what is cheapest ---------------------------------------------------


def _contractions(*roots: Expr) -> int:
    return sum(node.op.name == "contract" for node in topological(*roots))


def test_a_product_that_the_value_has_is_used_again() -> None:
    """``(A + A.T) @ x`` reads well; beside the value ``x @ A @ x`` it is ``A.T @ x`` again and one product more."""
    x, A = sg.symbol("x", "n"), sg.symbol("A", ("n", "n"))
    y = x @ A @ x
    shared = share_products([y, sg.grad(y, x)])
    assert _contractions(*shared) == 3 and "(A + A.T)" not in str(shared[1])
    values = {x: np.arange(3.0), A: np.arange(9.0).reshape(3, 3)}
    np.testing.assert_array_equal(evaluate(shared[1], values), evaluate(sg.grad(y, x), values))


def test_products_that_differ_by_a_transpose_are_one() -> None:
    A, B = sg.symbol("A", ("n", "n")), sg.symbol("B", ("n", "n"))
    one, other = sg.simplify([A.T @ B, sg.sin(B.T @ A)])
    assert _contractions(*share_products([one, other])) == 1


def test_a_product_that_others_use_is_not_taken_apart() -> None:
    A, B, x = sg.symbol("A", ("n", "n")), sg.symbol("B", ("n", "n")), sg.symbol("x", "n")
    hidden = A @ x
    both = sg.simplify([sg.tanh(hidden), hidden + B @ x])
    assert _contractions(*both) == 2


def test_the_compiler_shares_products_and_people_read_the_closed_form() -> None:
    x, A = sg.symbol("x", "n"), sg.symbol("A", ("n", "n"))
    f = sg.compile(x @ A @ x, wrt=x, cache=False)
    assert str(f.formulas) == "dL/dx = (A + A.T) @ x"
    rng = np.random.default_rng(0)
    a, v = rng.normal(size=(50, 50)), rng.normal(size=50)
    value, gradient = f.value_and_grad(v, a)
    assert value == pytest.approx(v @ a @ v)
    np.testing.assert_allclose(gradient, (a + a.T) @ v, rtol=1e-12, atol=1e-12)


def test_systems_are_solved_where_only_a_vector_meets_the_inverse() -> None:
    x, A = sg.symbol("x", "n"), sg.symbol("A", ("n", "n"))
    inverse = sg.linalg.inv(A)
    (both,) = share_products(sg.simplify([inverse @ x + sg.sin(x @ inverse)]))
    assert str(both) in ("solve(A, x) + sin(solve(A.T, x))", "sin(solve(A.T, x)) + solve(A, x)")
    (kept, _) = share_products([inverse @ x, inverse])
    assert str(kept) == "inv(A) @ x"
    values = {x: np.arange(3.0), A: np.arange(9.0).reshape(3, 3) + 3 * np.eye(3)}
    np.testing.assert_allclose(evaluate(both, values), evaluate(inverse @ x + sg.sin(x @ inverse), values), rtol=1e-12)


# --- against JAX ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*FIRST, *SECOND, *SLOWLY], ids=lambda c: c.source)
def test_as_jax_has_it(case: Case) -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    theirs = SimpleNamespace(
        inv=jnp.linalg.inv, det=jnp.linalg.det, logdet=lambda a: jnp.linalg.slogdet(a)[1], solve=jnp.linalg.solve, trace=jnp.trace,
        sum=jnp.sum, norm=jnp.linalg.norm, exp=jnp.exp, log=jnp.log, tanh=jnp.tanh, softplus=jax.nn.softplus, outer=jnp.outer,
        logsumexp=jax.nn.logsumexp, log_softmax=jax.nn.log_softmax, mean=jnp.mean, diag=jnp.diag, sqrt=jnp.sqrt, var=jnp.var,
        softmax=jax.nn.softmax, einsum=jnp.einsum, tril=jnp.tril, I=lambda X: jnp.eye(X.shape[0]),
    )  # fmt: skip
    symbols, given = symbols_of(case), values_of(case)
    position = names_of(case).index(case.wrt)
    derive, ours = (jax.hessian, sg.hessian) if case in SECOND else (jax.grad, sg.grad)
    wanted = derive(lambda *values: case.formula(theirs, *values), argnums=position)(*given.values())  # in float32
    found = evaluate(ours(case.formula(OURS, **symbols), symbols[case.wrt]), {symbols[name]: v for name, v in given.items()})
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3 * np.max(np.abs(found)))
