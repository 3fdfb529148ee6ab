"""What the code may count on: the instructions of the processor it is written for."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass

from symgrad.render.processor import has

__all__ = ["Target", "host"]


@dataclass(frozen=True)
class Target:
    """Results are as good without; only speed and the last bits differ."""

    fused: bool = False   # a fused multiply-add, so that an exact product costs two instructions
    avx512: bool = False  # instructions that take a number apart and put it together, on vectors of 128, 256 and 512 bits


def host() -> Target:
    """The processor numba compiles for: this one as LLVM sees it, unless numba was told otherwise.

    An instruction that the compiler does not know to be there ends the process, so this says no more than numba's settings allow.
    """
    if "numba.core.config" not in sys.modules and os.path.exists(".numba_config.yaml"):  # which it will read when it is imported
        return Target()
    if platform.machine().lower() in ("aarch64", "arm64"):
        return Target(fused=True)
    return Target(fused=has("fma"), avx512=has("avx512f") and has("avx512vl"))
