"""What the machine can do: multiply-adds in registers and a copy in memory, measured beside the contestants.

Both loops are LLVM code, so they need no C compiler. The first keeps twelve vectors, enough to hide the latency of two
multiply-add units; the second copies what no cache holds, past the caches.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from symgrad.bench.records import Case, Contestant

__all__ = ["CONTESTANTS", "rates"]

CHAINS = 12
STEPS = 1000               # turns of the loop in a unit
COPIED = 32 * 1024 * 1024  # bytes


def _attributes() -> str:
    from symgrad.run.engine import host

    name, features = host()
    # A processor's preference for narrower vectors must not decide what its peak is.
    return f'attributes #0 = {{ nounwind "target-cpu"="{name}" "target-features"="{features}" "prefer-vector-width"="512" }}'


def _multiply_adds(dtype: str, lanes: int) -> str:
    """Sums ``chains`` of x ← x·a + b; the result is returned, so that nothing is left out."""
    scalar = "double" if dtype == "float64" else "float"
    vector, name = f"<{lanes} x {scalar}>", f"llvm.fma.v{lanes}f{64 if dtype == 'float64' else 32}"
    phis = "\n".join(f"  %x{i} = phi {vector} [ %start, %entry ], [ %y{i}, %loop ]" for i in range(CHAINS))
    steps = "\n".join(f"  %y{i} = call {vector} @{name}({vector} %x{i}, {vector} %a, {vector} %b)" for i in range(CHAINS))
    sums = "\n".join(f"  %s{i + 1} = fadd {vector} {'%y0' if i == 0 else f'%s{i}'}, %y{i + 1}" for i in range(CHAINS - 1))

    def spread(to: str, of: str) -> str:
        return f"""  %{to}1 = insertelement {vector} poison, {scalar} %{of}, i32 0
  %{to} = shufflevector {vector} %{to}1, {vector} poison, <{lanes} x i32> zeroinitializer"""

    return f"""
define {scalar} @peak(i64 %count, {scalar} %p, {scalar} %q) #0 {{
entry:
{spread("a", "p")}
{spread("b", "q")}
{spread("start", "q")}
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{steps}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %done
done:
{sums}
  %r = extractelement {vector} %s{CHAINS - 1}, i32 0
  ret {scalar} %r
}}
declare {vector} @{name}({vector}, {vector}, {vector})
{_attributes()}
"""


def _copying() -> str:
    return f"""
define void @peak(ptr noalias %to, ptr noalias %from, i64 %count) #0 {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %source = getelementptr <8 x double>, ptr %from, i64 %i
  %target = getelementptr <8 x double>, ptr %to, i64 %i
  %value = load <8 x double>, ptr %source, align 64
  store <8 x double> %value, ptr %target, align 64, !nontemporal !0
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}}
{_attributes()}
!0 = !{{i32 1}}
"""


def _load(text: str) -> tuple[Any, int]:
    from symgrad.run.engine import Library, compile_text

    library = Library(compile_text(text))
    return library, library.address("peak")


def multiply_adds(case: Case) -> Contestant:
    """A unit is ``STEPS`` turns of the loop."""
    from symgrad.render.llvm import host_lanes

    real = ctypes.c_double if case.dtype == "float64" else ctypes.c_float
    library, address = _load(_multiply_adds(case.dtype, host_lanes(case.dtype)))
    function = ctypes.CFUNCTYPE(real, ctypes.c_int64, real, real)(address)

    def run(count: int) -> object:
        return library and function(count * STEPS, 0.5, 1.0)

    return Contestant(run, lambda: None)


def copy(case: Case) -> Contestant:
    """A unit is one copy of ``COPIED`` bytes."""
    library, address = _load(_copying())
    source, target = (_aligned(COPIED, fill) for fill in (1.0, 0.0))
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(address)

    def run(count: int) -> object:
        for _ in range(count):
            function(target.ctypes.data, source.ctypes.data, COPIED // 64)
        return library

    return Contestant(run, lambda: None)


def _aligned(size: int, fill: float) -> np.ndarray[Any, Any]:
    """An array at a cache line; it has been written, so its pages are there."""
    raw = np.full(size // 8 + 8, fill)
    first = -raw.ctypes.data % 64 // 8
    return raw[first : first + size // 8]


CONTESTANTS = {"fma": multiply_adds, "copy": copy}


def rates(seconds: dict[str, float], case: Case) -> dict[str, float]:
    """Operations and bytes a second, from the seconds a unit takes; of all the case's cores."""
    from symgrad.render.llvm import host_lanes

    work = {"fma": 2.0 * CHAINS * STEPS * host_lanes(case.dtype) * case.threads, "copy": 2.0 * COPIED}
    return {name: work[name] / s for name, s in seconds.items()}
