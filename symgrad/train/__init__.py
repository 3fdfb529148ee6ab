"""Training: ``fit`` turns a loss and an optimizer into one compiled loop, and runs it."""

from symgrad.train.fit import Fit, Training, fit, prepare
from symgrad.train.pictures import plot_decision_boundary

__all__ = ["Fit", "Training", "fit", "plot_decision_boundary", "prepare"]
