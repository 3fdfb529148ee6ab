"""Optimizers: update rules that are expressions themselves.

Forward pass, gradient and update are one graph, one printed set of formulas and one compiled function.
"""

from symgrad.optim.rules import SGD, Adam, Optimizer, State, step

__all__ = ["SGD", "Adam", "Optimizer", "State", "step"]
