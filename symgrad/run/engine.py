"""Machine code: compiled by llvmlite for the processor that numba would compile for, kept as an object file.

:func:`compile_object` hands the LLVM of several kernels to the code generator that numba uses, without numba around it: no
Python function is compiled, so its type inference is not needed, and importing it takes 0.4 s and 60 MB.
:class:`Library` loads an object file in about 4 ms.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from symgrad.loops import Gemm, Program
from symgrad.loops.walk import walk
from symgrad.run import cache as disk
from symgrad.run.entry import ENTRY_NAME, emit_entry

__all__ = [
    "CompiledObject", "Library", "blas_options", "compile_object", "compile_text", "entry_address", "host", "lock", "provide_blas",
    "provide_products", "uses_blas",
]  # fmt: skip

# One compilation at a time: llvmlite is not re-entrant. A fork waits for it, so that the child
# finds their state whole.
lock = threading.RLock()
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


@dataclass(frozen=True)
class CompiledObject:
    """An object file, its kernels' symbols by name, and the symbols that it needs from outside."""

    code: bytes
    symbols: Mapping[str, str]
    needs: tuple[str, ...]
    pieces: tuple[bytes, ...] = ()  # further object files, which long straight-line code went into


def compile_object(
    programs: Mapping[str, Program], *, key: str, dtype: str, fastmath: bool, threads: int = 1, show: Callable[[str], None] | None = None
) -> CompiledObject:
    """Compiles the programs into one object file; ``key`` makes its symbols unique, ``show`` gets the optimised LLVM.

    ``threads``: how many BLAS may use in a call (where SciPy's can be told).
    """
    from llvmlite import ir

    from symgrad.render.llvm import emit_kernel

    with lock:
        llvm, _ = _llvm()
        target = _target()
        module = ir.Module(f"symgrad_{key}")
        module.triple, module.data_layout = llvm.get_process_triple(), str(target.target_data)
        symbols = {}
        with _Pieces() as pieces:
            for number, (name, program) in enumerate(programs.items()):
                symbols[name] = f"symgrad_{key}_{number}"
                options = blas_options(program, threads)
                emit_kernel(module, program, dtype=dtype, fastmath=fastmath, name=symbols[name], apart=pieces.take, **options)
            final = llvm.parse_assembly(str(module))
            final.verify()
            _optimize(final, target, fastmath)
            if show is not None:
                show(str(final))
            code = target.emit_object(final)
            parts = pieces.parts()
        modules = [final, *(module for module, _ in parts)]
        made = {f.name for m in modules for f in m.functions if not f.is_declaration}
        declared = dict.fromkeys(f.name for m in modules for f in m.functions if f.is_declaration and not f.name.startswith("llvm."))
        needs = tuple(name for name in declared if name not in made)
        return CompiledObject(code, symbols, needs, tuple(piece for _, piece in parts))


class _Pieces:
    """Compiles long straight-line code in a thread while Python writes what comes next: LLVM lets go of the interpreter's lock.

    Of 300,000 statements Python takes 2 s to write and LLVM 2 s to compile. The thread is there only for formulas that long.
    """

    def __init__(self) -> None:
        self.pool: Any = None
        self.under_way: list[Any] = []

    def __enter__(self) -> _Pieces:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:  # no thread stays: a fork would lose it
            self.pool.shutdown(cancel_futures=True)

    def take(self, text: str) -> None:
        if self.pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self.pool = ThreadPoolExecutor(1)
        self.under_way.append(self.pool.submit(_compile_piece, text))

    def parts(self) -> list[tuple[Any, bytes]]:
        """Modules and object files of the texts, in their order; raises what went wrong."""
        return [part.result() for part in self.under_way]


def _compile_piece(text: str) -> tuple[Any, bytes]:
    """Few calls of LLVM, all of them long: after each the thread waits for its turn with the interpreter."""
    llvm, _ = _llvm()
    module = llvm.parse_assembly(text)
    module.verify()
    return module, bytes(_target(0).emit_object(module))


def _optimize(module: Any, target: Any, fastmath: bool = False) -> None:
    """The few of LLVM's passes that find something to do: lanes are explicit, register blocks written out, loops in order.

    Measured on the training loops of 2-16-16-1 and 64-64-32-10 networks, 3,000 to 5,000 lines of LLVM: 30 to 40 ms
    instead of 130 to 200 ms at -O3, in the same time to run; so, too, for normalisations, softmax, regressions, stencils and sums
    over pairs, in both precisions. What LLVM may do where arithmetic need not be exact is more: then all passes run.
    """
    llvm, _ = _llvm()
    options = llvm.create_pipeline_tuning_options(speed_level=3 if fastmath else 0)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)  # at level 0: what must be inlined, is
    if not fastmath:
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
        passes.run(module, builder)


def _target(care: int = 3) -> Any:
    """A target machine like numba's own (``JITCPUCodegen`` in numba/core/codegen.py), made without importing numba.

    ``care``: at 0 instructions are chosen and registers allocated in the quickest way.
    """
    from symgrad.render.processor import cpu_features, cpu_name

    llvm, machine = _llvm()
    level = os.environ.get("NUMBA_OPT", "")
    opt = min(care, int(level) if level.isdigit() else 3)
    reloc = "static" if llvm.get_process_triple().startswith(("x86", "i386", "i686")) else "default"
    return machine(cpu=cpu_name(), features=cpu_features(), opt=opt, reloc=reloc, codemodel="jitdefault", jit=True)


def blas_options(program: Program, threads: int) -> dict[str, Any]:
    """What :func:`~symgrad.render.llvm.emit_kernel` is told of BLAS."""
    if not uses_blas(program):
        return {}
    bits, limited = provide_blas()
    split = os.name == "posix"  # into parts that kernels give to threads of their own: the library's would be in their way
    return {"blas_integer": bits, "blas_threads": (1 if split else threads) if limited else 0}


def uses_blas(program: Program) -> bool:
    """Whether a program multiplies matrices through BLAS."""
    return any(isinstance(statement, Gemm) for statement in walk(program.body))


class Library:
    """A loaded object file. The machine code lives as long as this object.

    Raises ``LookupError`` where a symbol that it needs is not there: the object comes from elsewhere.
    """

    def __init__(self, code: bytes, needs: Sequence[str] = (), blas: bool = False, pieces: Sequence[bytes] = ()) -> None:
        with lock:
            llvm, machine = _llvm()
            if blas:
                provide_blas()
            provide_products(needs)
            self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
            # Only now are the process's own symbols known to LLVM.
            missing = [name for name in needs if llvm.address_of_symbol(name) is None]
            if missing:
                raise LookupError(f"not available in this process: {', '.join(missing)}")  # MCJIT would end the process
            for part in (*pieces, code):
                self._engine.add_object_file(llvm.ObjectFileRef.from_data(part))
            self._engine.finalize_object()

    def address(self, symbol: str) -> int:
        """Where a function is."""
        with lock:
            found = int(self._engine.get_function_address(symbol))
        if not found:
            raise LookupError(f"the object has no function {symbol}")
        return found


@cache
def _llvm() -> tuple[Any, Callable[..., Any]]:
    """llvmlite's binding, ready, and a maker of target machines (an engine owns its own)."""
    import llvmlite.binding as llvm

    try:
        llvm.initialize()  # needed up to llvmlite 0.44, refused since 0.45
    except RuntimeError:
        pass
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return llvm, target.create_target_machine


@cache
def host() -> tuple[str, str]:
    """The processor's name and features: machine code for another one must not be loaded here."""
    from symgrad.render.processor import cpu_features, cpu_name

    return cpu_name(), cpu_features()


# --- the CPython entry -----------------------------------------------------------------------------

_entry: tuple[Library, int] | None = None


def entry_address(load: Callable[[], bytes | None], store: Callable[[bytes], None]) -> int:
    """Where the CPython entry is. Made once a process; ``load`` and ``store`` keep its object code."""
    global _entry
    with lock:
        if _entry is None:
            code = load()
            if code is None:
                code = compile_text(emit_entry())
                store(code)
            library = Library(code)
            _entry = library, library.address(ENTRY_NAME)
        return _entry[1]


def compile_text(text: str, target: Any = None) -> bytes:
    """LLVM code as an object file, for a target machine, or one that any processor of the kind runs: there, a function that
    names a ``"target-cpu"`` (see :func:`host`) is compiled for that one."""
    llvm, machine = _llvm()
    with lock:
        target = target or machine()
        module = llvm.parse_assembly(text)
        module.triple, module.data_layout = llvm.get_process_triple(), str(target.target_data)
        module.verify()
        _optimize(module, target)  # 10 ms in place of 100 at -O2, and a call takes as long
        return bytes(target.emit_object(module))


# --- matrix products ----------------------------------------------------------------------------------

_products: dict[str, Library] = {}


def provide_products(names: Iterable[str]) -> None:
    """Gives machine code those of our own matrix products that are named: made once, kept on disk, loaded once a process."""
    from symgrad.render.products import PREFIX

    llvm, _ = _llvm()
    with lock:
        for name in names:
            if not name.startswith(PREFIX) or name in _products:
                continue
            key = disk.digest([name, *disk.versions(), *host()])
            found = disk.default().load(key)
            code = found[1][0] if found else _compile_product(name)
            if found is None:
                disk.default().store(key, {}, [code])
            _products[name] = Library(code)
            llvm.add_symbol(name, _products[name].address(name))


def _compile_product(name: str) -> bytes:
    from llvmlite import ir

    from symgrad.render.llvm_gemm import emit_product

    module = ir.Module(name)
    emit_product(module, name)
    return compile_text(str(module), _target())


# --- BLAS ------------------------------------------------------------------------------------------


@cache
def provide_blas() -> tuple[int, bool]:
    """Gives machine code ``symgrad_dgemm`` and ``symgrad_sgemm``, SciPy's, without importing scipy.linalg (0.3 s).

    Returns how many bits its integers have, and whether ``symgrad_blas_threads`` is there, too: OpenBLAS's
    ``openblas_set_num_threads_local``, which takes a number of threads and returns the one before. On small matrices
    its threads cost more than they do: 35 ms a step against 3 ms was seen for a 300-256-256-10 network on two cores.
    """
    import ctypes
    import importlib.machinery
    import importlib.util

    llvm, _ = _llvm()
    name = "scipy.linalg.cython_blas"
    module = sys.modules.get(name)
    if module is None:
        package = importlib.util.find_spec("scipy")
        folders: Iterable[str] = (package.submodule_search_locations or ()) if package else ()
        paths = [os.path.join(f, "linalg", "cython_blas" + s) for f in folders for s in importlib.machinery.EXTENSION_SUFFIXES]
        path = next(filter(os.path.exists, paths))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules.pop(name, None)  # it registers itself; a later import must also bind it in its package
    pythonapi = ctypes.pythonapi
    pythonapi.PyCapsule_GetName.restype, pythonapi.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pythonapi.PyCapsule_GetPointer.restype = ctypes.c_void_p
    pythonapi.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    for routine in ("dgemm", "sgemm"):
        capsule = module.__pyx_capi__[routine]
        signature = pythonapi.PyCapsule_GetName(capsule)
        llvm.add_symbol(f"symgrad_{routine}", pythonapi.PyCapsule_GetPointer(capsule, signature))
    integer = signature.decode().split(",")[2].strip()  # void (char *, char *, int *, …
    limit = getattr(ctypes.CDLL(module.__file__), "openblas_set_num_threads_local", None)  # dlsym sees what the extension links
    if limit is not None:
        llvm.add_symbol("symgrad_blas_threads", ctypes.cast(limit, ctypes.c_void_p).value)
    return 32 if integer == "int *" else 64, limit is not None
