"""What the code may count on: the instructions of the processor it is written for."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from functools import cache

from llvmlite import binding

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
    config = sys.modules.get("numba.core.config")
    if config is not None:
        other, vectors = bool(config.CPU_NAME or config.CPU_FEATURES), bool(config.ENABLE_AVX)
    else:  # what it will read when it is imported
        other = "NUMBA_CPU_NAME" in os.environ or "NUMBA_CPU_FEATURES" in os.environ or os.path.exists(".numba_config.yaml")
        vectors = os.environ.get("NUMBA_ENABLE_AVX", "1") != "0"
    return Target() if other or not vectors else _processor()


@cache
def _processor() -> Target:
    if platform.machine().lower() in ("aarch64", "arm64"):
        return Target(fused=True)
    features = binding.get_host_cpu_features()
    return Target(fused=bool(features.get("fma")), avx512=bool(features.get("avx512f") and features.get("avx512vl")))
