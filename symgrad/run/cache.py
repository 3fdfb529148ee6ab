"""The disk cache: what compiling made, for the next process.

One file an entry, named by its key: a line that says what it is, a checksum of the rest, a JSON header
and raw blocks (object code, arrays). Nothing in a file is used before its checksum has been compared, and
nothing is unpickled. A file that is short, changed or of another key counts as absent, and is written anew.

The folder holds machine code, so it must be the user's own: a real folder, owned by the user and
writable by nobody else; otherwise there is one :class:`CacheWarning` and everything works without it.
``SYMGRAD_CACHE_DIR`` names another folder.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from symgrad.errors import CacheWarning

__all__ = ["Cache", "Store", "default", "digest", "versions"]

_MAGIC = b"symgrad cache 1\n"
_CHECKSUM = 32  # bytes
_SUFFIX = ".bin"
_LIMIT = 512 * 2**20  # bytes; the least recently used entries go first
_STALE = 3600.0  # seconds after which a temporary file was left behind by a process that died
_LOCK_SECONDS = 10.0

_NUMBA_SETTINGS = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT", "NUMBA_LOOP_VECTORIZE", "NUMBA_SLP_VECTORIZE", "NUMBA_ENABLE_AVX")

_ROOT = Path(__file__).resolve().parent.parent
_imported_at: float = sys.modules["symgrad"]._imported_at

Entry = tuple[dict[str, Any], list[bytes]]


def digest(parts: Iterable[object]) -> str:
    """A key from any values whose text tells them apart."""
    h = blake2b(digest_size=20)
    for part in parts:
        text = part if isinstance(part, bytes) else repr(part).encode()
        h.update(len(text).to_bytes(8, "little") + text)
    return h.hexdigest()


@cache
def versions() -> tuple[str, ...]:
    """What compiled results depend on beside their input: symgrad's own source, the interpreter and the libraries."""
    h = blake2b(digest_size=16)
    for path in _source():
        h.update(str(path.relative_to(_ROOT)).encode() + path.read_bytes())
    libraries = [_release(name) for name in ("numpy", "numba", "llvmlite", "scipy", "sympy")]
    settings = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name in _NUMBA_SETTINGS]
    return (h.hexdigest(), str(sys.implementation.cache_tag), getattr(sys, "abiflags", ""), *libraries, *settings)


def _source() -> list[Path]:
    return sorted(_ROOT.rglob("*.py"))


def source_is_what_runs() -> bool:
    """False once a source file has changed under this process (an upgrade, an edit): what it compiles belongs to no version."""
    try:
        return all(path.stat().st_ctime <= _imported_at for path in _source())
    except OSError:
        return False


def _release(package: str) -> str:
    """What tells one release of a library from another, without importing it: where it is, and its version file."""
    spec = find_spec(package)
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    if folder is None:
        return f"{package} absent"
    found = [folder / name for name in ("_version.py", "version.py", "release.py") if (folder / name).is_file()]
    h = blake2b(b"".join(path.read_bytes() for path in found or [folder / "__init__.py"]), digest_size=8)
    return f"{folder} {h.hexdigest()}"


class Cache:
    """Entries in one folder. Every method works, doing nothing, where the folder cannot be used.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> entries = Cache(folder.name)
    >>> entries.store("ab12", {"kind": "example"}, [b"some", b"blocks"])
    >>> entries.load("ab12")
    ({'kind': 'example'}, [b'some', b'blocks'])
    >>> entries.info()["entries"], entries.clear(), entries.load("ab12")
    (1, 1, None)
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | os.PathLike[str] | None, limit: int = _LIMIT) -> None:
        self.folder = None if folder is None else Path(folder)
        self.limit = limit
        self.reason = "" if folder is not None else "there is no home folder"  # why it cannot be used, if it cannot
        if self.folder is not None:
            self.reason = _prepare(self.folder)

    @property
    def usable(self) -> bool:
        """Whether there is a folder to read from."""
        return not self.reason

    def load(self, key: str) -> Entry | None:
        """The header and blocks stored under a key, ``None`` where there are none that are whole."""
        if not self.usable:
            return None
        path = self._path(key)
        try:
            data = _read(path)
        except OSError:
            return None
        entry = None if data is None else _unpack(data, key)
        if entry is not None:
            _ignoring_os_errors(lambda: os.utime(path))  # recently used
        return entry

    def store(self, key: str, header: Mapping[str, Any], blocks: Sequence[bytes]) -> None:
        """Keeps an entry; readers see all of it or nothing. A full disk or a lost folder only means that it is not kept."""
        if not self.usable or not source_is_what_runs():
            return
        from filelock import FileLock, Timeout

        data = _pack(key, header, blocks)
        temporary = self._folder / f"{key}.{os.getpid()}.{threading.get_ident()}.tmp"
        try:
            with FileLock(self._folder / "lock", timeout=_LOCK_SECONDS):
                try:
                    _write(temporary, data)
                    os.replace(temporary, self._path(key))
                finally:
                    _ignoring_os_errors(temporary.unlink)
                self._evict()
        except (OSError, Timeout):
            return

    def info(self) -> dict[str, Any]:
        """The folder, the number of entries and their bytes, the limit, and why the folder is not used, if it is not."""
        files = self._files()
        return {
            "folder": None if self.folder is None else str(self.folder),
            "entries": len(files),
            "bytes": sum(size for _, size, _ in files),
            "limit": self.limit,
            "reason": self.reason,
        }

    def clear(self) -> int:
        """Removes every entry; returns how many there were."""
        files = self._files()
        for path, _, _ in files:
            _ignoring_os_errors(path.unlink)
        return len(files)

    @property
    def _folder(self) -> Path:
        assert self.folder is not None
        return self.folder

    def _path(self, key: str) -> Path:
        return self._folder / (key + _SUFFIX)

    def _files(self, suffix: str = _SUFFIX) -> list[tuple[Path, int, float]]:
        """Path, size and time of last use of every entry, the least recently used first."""
        found = []
        if self.usable:
            try:
                with os.scandir(self._folder) as items:
                    for item in items:
                        if item.name.endswith(suffix):
                            status = item.stat(follow_symlinks=False)
                            found.append((Path(item.path), status.st_size, status.st_mtime))
            except OSError:
                return found
        return sorted(found, key=lambda f: f[2])

    def _evict(self) -> None:
        files = self._files()
        total = sum(size for _, size, _ in files)
        for path, size, _ in files:
            if total <= self.limit:
                break
            _ignoring_os_errors(path.unlink)
            total -= size
        for path, _, used in self._files(".tmp"):
            if used < time.time() - _STALE:
                _ignoring_os_errors(path.unlink)


class Store:
    """Short texts by key, on disk: what simplification remembers of its islands."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def load(self, key: str) -> str | None:
        """The text under a key."""
        entry = default().load(digest([self._kind, key, versions()]))
        return None if entry is None else entry[1][0].decode()

    def store(self, key: str, value: str) -> None:
        """Keeps a text."""
        default().store(digest([self._kind, key, versions()]), {"kind": self._kind}, [value.encode()])


# --- the folder ------------------------------------------------------------------------------------

_known: dict[str | None, Cache] = {}
_guard = threading.Lock()


def default() -> Cache:
    """The cache of this process's environment."""
    asked = os.environ.get("SYMGRAD_CACHE_DIR") or None
    with _guard:
        if asked not in _known:
            _known[asked] = Cache(os.path.abspath(asked) if asked else _user_folder())
        return _known[asked]


def _renew_guard() -> None:
    global _guard
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_renew_guard)


def _user_folder() -> str | None:
    from platformdirs import user_cache_dir

    try:
        folder = user_cache_dir("symgrad", appauthor=False)
    except RuntimeError:  # there is no home
        return None
    return folder if os.path.isabs(folder) else None  # older platformdirs leave "~/.cache" as it is


def _prepare(folder: Path) -> str:
    """Makes the folder; returns why it cannot be used, or nothing."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        pass  # something else is there; what it is decides below
    except OSError as error:
        return f"it cannot be made: {error.strerror}"
    try:
        status = folder.lstat()
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    problem = _unsafe(status, stat.S_ISDIR)
    if problem:
        warnings.warn(f"the cache folder {folder} is not used: {problem}; symgrad works without it", CacheWarning, stacklevel=2)
    return problem


def _unsafe(status: os.stat_result, is_kind: Callable[[int], bool]) -> str:
    """Why code from there must not run, or nothing."""
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link"
    if not is_kind(status.st_mode):
        return "it is of the wrong kind"
    if hasattr(os, "geteuid"):
        if status.st_uid != os.geteuid():
            return "it belongs to another user"
        if status.st_mode & 0o022:
            return "others may write to it"
    return ""


# --- files -----------------------------------------------------------------------------------------


def _read(path: Path) -> bytes | None:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        return None if _unsafe(os.fstat(descriptor), stat.S_ISREG) else file.read()


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)


def _pack(key: str, header: Mapping[str, Any], blocks: Sequence[bytes]) -> bytes:
    head = json.dumps({"key": key, "blocks": [len(b) for b in blocks], "header": header}, separators=(",", ":")).encode()
    body = b"".join([len(head).to_bytes(8, "little"), head, *blocks])
    return _MAGIC + blake2b(body, digest_size=_CHECKSUM).digest() + body


def _unpack(data: bytes, key: str) -> Entry | None:
    start = len(_MAGIC) + _CHECKSUM
    body = data[start:]
    if not data.startswith(_MAGIC) or blake2b(body, digest_size=_CHECKSUM).digest() != data[len(_MAGIC) : start]:
        return None
    end = 8 + int.from_bytes(body[:8], "little")
    head = json.loads(body[8:end])
    if head["key"] != key:
        return None
    blocks = []
    for size in head["blocks"]:
        blocks.append(body[end : end + size])
        end += size
    return head["header"], blocks


def _ignoring_os_errors(action: Callable[[], object]) -> None:
    """For what is only housekeeping: another process may have been there first, the disk may be read-only."""
    with suppress(OSError):
        action()
