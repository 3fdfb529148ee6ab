"""RUN: numba's code generator, the disk cache, the CPython entry and the Function object.

    engine      LLVM to object code, and back into memory without numba
    entry       the native function that Python calls; table tells it about one kernel
    cache       what compiling made, kept for the next process
    arguments   what a call is given: bound, converted, checked
    kernel      a loaded program with all that a call needs
    function    ``f``, ``f.grad``, …
    jit         the same inside the user's own numba code
"""

from symgrad.run.function import Function

__all__ = ["Function"]
