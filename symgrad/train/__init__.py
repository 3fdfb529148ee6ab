"""Training: ``fit`` turns a loss and an optimizer into one compiled loop, and runs it."""

from symgrad.train.fit import Fit, Training, fit, prepare

__all__ = ["Fit", "Training", "fit", "prepare"]
