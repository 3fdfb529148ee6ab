"""RUN: numba's code generator, the disk cache, the CPython entry and the Function object."""
