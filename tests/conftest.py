"""The tests keep compiled code in a folder of their own, unless SYMGRAD_CACHE_DIR names one."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

if not os.environ.get("SYMGRAD_CACHE_DIR"):
    _folder = tempfile.mkdtemp(prefix="symgrad-tests-")
    os.environ["SYMGRAD_CACHE_DIR"] = os.path.join(_folder, "cache")
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
