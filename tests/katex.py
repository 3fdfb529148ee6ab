"""KaTeX from npm, which tells whether LaTeX compiles: for the tests of everything that prints formulas.

``npm install katex`` runs once a session, in a temporary folder; without Node.js or a network the tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

VERSION = "0.16"
_SCRIPT = """
const katex = require("katex");
const formulas = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(formulas.map(f => {
  try { katex.renderToString(f, {displayMode: true, throwOnError: true, strict: "error"}); return ""; }
  catch (error) { return String(error.message); }
})));
"""


@cache
def _folder() -> tuple[Path | None, str]:
    """Where KaTeX is, or why it is not."""
    if not shutil.which("node") or not shutil.which("npm"):
        return None, "Node.js with npm is not installed: LaTeX cannot be compiled by KaTeX"
    folder = Path(mkdtemp(prefix="symgrad-katex-"))
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--fetch-retries=0", "--prefix", str(folder), f"katex@{VERSION}"]
    try:
        done = subprocess.run(install, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return None, "npm install katex took more than a minute: offline?"
    if done.returncode:
        return None, f"npm install katex failed: {(done.stderr or done.stdout).strip()[:200]}"
    return folder, ""


def katex_errors(formulas: Sequence[str]) -> dict[str, str]:
    """Formula → what KaTeX says against it, for those that do not compile (strictly). Skips the test where KaTeX cannot be had."""
    folder, why_not = _folder()
    if folder is None:
        pytest.skip(why_not)
    done = subprocess.run(
        ["node", "-e", _SCRIPT], cwd=folder, input=json.dumps(list(formulas)), capture_output=True, text=True, timeout=120, check=True
    )
    return {formula: error for formula, error in zip(formulas, json.loads(done.stdout), strict=True) if error}
