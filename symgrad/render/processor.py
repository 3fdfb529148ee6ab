"""The processor that machine code is made for: this one as LLVM sees it, unless numba's settings name another.

numba's environment variables are read here (``NUMBA_CPU_NAME``, ``NUMBA_CPU_FEATURES``, ``NUMBA_ENABLE_AVX``), so that a formula
called by itself and one inside the user's ``@numba.njit`` code are made for the same machine, and numba need not be imported.
"""

from __future__ import annotations

import os
import sys

from llvmlite import binding

__all__ = ["cpu_features", "cpu_name", "has", "host_lanes", "host_registers"]

# Where AVX is slow or wrongly reported: numba/core/config.py, avx_default
_WITHOUT_AVX = ("corei7-avx", "core-avx-i", "sandybridge", "ivybridge", "nocona")


def cpu_name() -> str:
    """LLVM's name of the processor."""
    return _setting("CPU_NAME") or str(binding.get_host_cpu_name())


def cpu_features() -> str:
    """LLVM's list of its features, ``"+avx,-avx512f,…"``."""
    asked = _setting("CPU_FEATURES")
    if asked is not None:
        return asked
    return "" if _is_generic() else ",".join(("+" if there else "-") + name for name, there in sorted(_host_features().items()))


def has(feature: str) -> bool:
    """Whether code may use a feature. An instruction that is not there ends the process, so a doubt means no."""
    asked = _setting("CPU_FEATURES")
    flags = {} if _setting("CPU_NAME") and (asked is not None or _is_generic()) else _host_features()
    for flag in (asked or "").split(","):
        flags[flag.strip()[1:]] = flag.strip().startswith("+")
    return flags.get(feature, False)


def host_lanes(dtype: str) -> int:
    """The number of ``dtype`` elements in a SIMD register."""
    width = 64 if has("avx512f") else 32 if has("avx") or has("avx2") else 16
    return width // (8 if dtype == "float64" else 4)


def host_registers() -> int:
    """How many SIMD registers there are."""
    return 32 if has("avx512f") or not binding.get_process_triple().startswith(("x86", "i")) else 16


def _host_features() -> dict[str, bool]:
    try:
        found = dict(binding.get_host_cpu_features())
    except RuntimeError:  # LLVM does not know this platform's
        return {}
    return found if _uses_avx() else {name: there and not name.startswith("avx") for name, there in found.items()}


def _uses_avx() -> bool:
    asked = _setting("ENABLE_AVX")
    return asked not in ("0", "False") if asked is not None else cpu_name() not in _WITHOUT_AVX


def _is_generic() -> bool:
    return cpu_name().lower() == "generic"


def _setting(name: str) -> str | None:
    """One of numba's settings: numba's own value where it is imported, else what it would read."""
    config = sys.modules.get("numba.core.config")
    value = os.environ.get(f"NUMBA_{name}") if config is None else getattr(config, name, None)
    return None if value is None else str(value)
