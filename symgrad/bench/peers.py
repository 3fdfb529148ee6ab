"""The peers: how to find out whether one is there. Their versions are pinned in the extra ``bench`` of ``pyproject.toml``."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from importlib import metadata
from importlib.util import find_spec

from symgrad.bench.records import OURS

__all__ = ["PEERS", "choose", "installed", "peer_of", "versions"]

# peer → what is imported, and what it is called in the package index; gcc and plain Python are neither
PEERS: dict[str, tuple[str, str]] = {
    "jax": ("jax", "jax"),
    "torch": ("torch", "torch"),
    "pytensor": ("pytensor", "pytensor"),
    "casadi": ("casadi", "casadi"),
    "micrograd": ("micrograd", "micrograd"),
    "symengine": ("symengine", "symengine"),
    "sympy": ("sympy", "sympy"),
    "sklearn": ("sklearn", "scikit-learn"),
    "numba": ("numba", "numba"),
    "numpy": ("numpy", "numpy"),
    "scipy": ("scipy", "scipy"),
    "blas": ("scipy", "scipy"),
    "python": ("", ""),
    "c": ("", ""),
}


def peer_of(contestant: str) -> str:
    """The peer that a contestant is a variant of: its first word."""
    return contestant.split()[0]


def installed(peer: str) -> bool:
    """Whether a peer can take part here."""
    if peer == "c":
        return shutil.which("gcc") is not None
    module, _ = PEERS[peer]
    return not module or find_spec(module) is not None


def choose(contestants: Iterable[str], against: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The contestants that take part, and the peers that were wanted but are not installed."""
    names = list(contestants)
    wanted = {p for p in map(peer_of, names) if p != OURS and (against is None or p in against)}
    absent = sorted(p for p in wanted if not installed(p))
    return [n for n in names if peer_of(n) == OURS or peer_of(n) in wanted.difference(absent)], absent


def versions(peers: Iterable[str]) -> dict[str, str]:
    """Package → version, of the peers that come from the package index."""
    packages = {PEERS[p][1] for p in peers if PEERS[p][1] and installed(p)}
    return {package: metadata.version(package) for package in sorted(packages)}
