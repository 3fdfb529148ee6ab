"""The rooms of the architecture: imports point downward, and two fences.

Every import statement counts, at the top of a module, inside a function or under ``TYPE_CHECKING``, and so does
``import_module`` with a name in quotes. Tables that upper rooms fill (``METHODS``, ``Builders``) are how lower rooms
reach what stands above them.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "symgrad"

# Lowest first. Names in one line do not import each other. "" is the package itself, the public names: it opens every
# room by name when a user first asks for it, and only programs that use it as users do may import it.
LAYERS = [
    "errors", "dims", "expr", "ops", "linalg parse evaluate sympy_bridge loops", "differentiate", "simplify", "show", "schedule render",
    "run", "pipeline", "nn optim", "train", "interop", "", "cli bench", "__main__",
]  # fmt: skip
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in (rooms.split() or [""])}

FENCES = {
    "sympy": ("sympy_bridge.py", "simplify/"),
    "numba": ("run/", "bench/"),  # in bench/ it is a contestant, like any other library there
    "llvmlite": (
        "run/", "render/llvm.py", "render/llvm_body.py", "render/llvm_gemm.py", "render/llvm_instructions.py", "render/processor.py",
        "render/vector_math/",
    ),
}
# What costs time to import, or need not be installed: only inside functions, except in modules that are only imported there.
HEAVY = ("sympy", "numba", "llvmlite", "scipy", "matplotlib", "sklearn", "torch", "jax", "pygraphviz")
ON_DEMAND = FENCES["llvmlite"][1:]


class Import(NamedTuple):
    line: int
    module: str
    inside: bool  # a function, or under TYPE_CHECKING: it does not run when the module is imported

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [path.relative_to(PACKAGE).as_posix() for path in FILES]


def imports(text: str, package: str = "symgrad") -> Iterator[Import]:
    """Every import of a module's text. ``package``: the one the module is in, which relative names start from."""
    todo: list[tuple[ast.AST, bool]] = [(ast.parse(text), False)]
    while todo:
        node, inside = todo.pop()
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:  # `from symgrad import dims` is the room, `from symgrad import grad` the public name
                room = module == "symgrad" and alias.name in LEVEL and alias.name != "simplify"
                yield Import(node.lineno, f"symgrad.{alias.name}" if room else module, inside)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__"):
                yield Import(node.lineno, node.args[0].value, inside)
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        within = inside or guarded or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        todo += [(child, within) for child in ast.iter_child_nodes(node)]


@cache
def of(name: str) -> list[Import]:
    path = PACKAGE / name
    return list(imports(path.read_text(encoding="utf-8"), ".".join(["symgrad", *path.relative_to(PACKAGE).parts[:-1]])))


def room_of(module: str) -> str:
    """``symgrad.ops.shape`` → ``ops``."""
    return (module.split(".") + [""])[1]


def upward(name: str, found: list[Import]) -> list[str]:
    """The imports of a file that do not point to a lower room or stay inside its own."""
    own = name.partition("/")[0].removesuffix(".py")
    own = "" if own == "__init__" else own
    return [
        f"{name}:{line} imports {module}"
        for line, module, _ in found
        if module.partition(".")[0] == "symgrad" and room_of(module) != own and LEVEL[room_of(module)] >= LEVEL[own]
    ]


def test_imports_point_downward() -> None:
    assert not [problem for name in NAMES for problem in upward(name, of(name))]


def test_fences() -> None:
    for package, fence in FENCES.items():
        outside = [name for name in NAMES if not name.startswith(fence)]
        assert not [f"{name}:{i.line} imports {i.module}" for name in outside for i in of(name) if i.top == package]


def test_heavy_packages_are_imported_inside_functions() -> None:
    files = [name for name in NAMES if not name.startswith(ON_DEMAND)]
    assert not [f"{name}:{i.line} imports {i.module}" for name in files for i in of(name) if i.top in HEAVY and not i.inside]


def test_every_room_has_a_layer() -> None:
    rooms = {name.partition("/")[0].removesuffix(".py") for name in NAMES} - {"__init__"}
    assert rooms <= set(LEVEL)


def test_the_checks_see_what_they_should() -> None:
    text = """
from __future__ import annotations
from typing import TYPE_CHECKING
import numpy as np
from symgrad import dims, grad
if TYPE_CHECKING:
    from symgrad.run.function import Function
def late():
    import sympy, scipy.special
    from .. import show
    return import_module("symgrad.pipeline")
"""
    found = list(imports(text, "symgrad.ops"))
    assert {(i.module, i.inside) for i in found if i.top in ("symgrad", "sympy", "scipy")} == {
        ("symgrad.dims", False), ("symgrad", False), ("symgrad.run.function", True), ("sympy", True), ("scipy.special", True),
        ("symgrad.show", True), ("symgrad.pipeline", True),
    }  # fmt: skip
    assert [line.partition(" ")[2] for line in sorted(upward("ops/late.py", found))] == [
        "imports symgrad.show", "imports symgrad.pipeline", "imports symgrad", "imports symgrad.run.function",
    ]  # fmt: skip
    assert upward("parse.py", list(imports("from symgrad.evaluate import evaluate")))
    assert not upward("parse.py", list(imports("import symgrad.ops")))


def loaded_by(program: str) -> set[str]:
    """The modules that a fresh process has after running a program."""
    command = [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return set(done.stdout.split())


def heavy_of(modules: set[str]) -> set[str]:
    return {m for m in modules if m.startswith("scipy.") or (m.partition(".")[0] in HEAVY and m != "scipy")}


def test_importing_symgrad_is_light() -> None:
    modules = loaded_by("import symgrad")
    assert "symgrad.ops" in modules
    assert not heavy_of(modules)


def test_building_differentiating_and_printing_need_no_compiler() -> None:
    program = "import symgrad as sg; x = sg.symbol('x'); str(sg.grad(sg.tanh(3*x)**2, x)); sg.at(x*x, x=2.0); sg.nn.MLP(2, [3, 1])"
    modules = loaded_by(program)
    assert not heavy_of(modules)
