"""A loop program as: :mod:`llvm <symgrad.render.llvm>` (what runs), :mod:`python <symgrad.render.python>` (what one reads),
:mod:`text <symgrad.render.text>` (a listing). Nothing here imports llvmlite before it is asked to render LLVM code."""
