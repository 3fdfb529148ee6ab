"""The disk cache, without compiling anything: whole entries or none, in a folder that is the user's own."""

from __future__ import annotations

import multiprocessing
import os
import stat
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symgrad.errors import CacheWarning
from symgrad.run import cache
from symgrad.run.cache import Cache

HEADER: dict[str, Any] = {"sizes": ["n"], "checks": [["n", ">=", 3]]}
BLOCKS = [b"\x7fELF" + bytes(range(256)), b"", b"x" * 1000]


@pytest.fixture
def entries(tmp_path: Path) -> Cache:
    made = Cache(tmp_path / "cache")
    made.store("ab", HEADER, BLOCKS)
    return made


def file_of(entries: Cache, key: str = "ab") -> Path:
    assert entries.folder is not None
    return entries.folder / f"{key}.bin"


def test_what_is_stored_is_loaded(entries: Cache) -> None:
    assert entries.load("ab") == (HEADER, BLOCKS)
    assert entries.load("cd") is None
    assert stat.S_IMODE(file_of(entries).parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file_of(entries).stat().st_mode) == 0o600
    assert sorted(p.name for p in file_of(entries).parent.iterdir()) in (["ab.bin"], ["ab.bin", "lock"])


def test_cut_anywhere(entries: Cache) -> None:
    whole = file_of(entries).read_bytes()
    for length in range(0, len(whole), 7):
        file_of(entries).write_bytes(whole[:length])
        assert entries.load("ab") is None
    file_of(entries).write_bytes(whole + b"\n")
    assert entries.load("ab") is None
    entries.store("ab", HEADER, BLOCKS)
    assert entries.load("ab") == (HEADER, BLOCKS)


def test_any_byte_flipped(entries: Cache) -> None:
    whole = file_of(entries).read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        file_of(entries).write_bytes(changed)
        assert entries.load("ab") is None, position


def test_renamed_entry_is_another_key(entries: Cache) -> None:
    os.replace(file_of(entries), file_of(entries, "cd"))
    assert entries.load("cd") is None


@pytest.mark.parametrize("kind", ["folder", "link", "writable", "pipe"])
def test_entry_that_is_no_file_of_ours(entries: Cache, kind: str) -> None:
    path = file_of(entries)
    if kind == "writable":
        path.chmod(0o666)
    else:
        path.rename(path.with_name("elsewhere"))
    if kind == "folder":
        path.mkdir()
    if kind == "link":
        path.symlink_to("elsewhere")
    if kind == "pipe":
        os.mkfifo(path, 0o600)
    assert entries.load("ab") is None


@pytest.mark.parametrize("kind", ["group", "others", "link", "file"])
def test_unsafe_folder(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "cache"
    if kind == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "real")
    elif kind == "file":
        folder.write_text("")
    else:
        folder.mkdir()
        folder.chmod(0o770 if kind == "group" else 0o702)
    with pytest.warns(CacheWarning, match="is not used") as caught:
        entries = Cache(folder)
    assert len(caught) == 1
    entries.store("ab", HEADER, BLOCKS)
    assert entries.load("ab") is None and entries.info()["reason"] and entries.clear() == 0
    assert not list((tmp_path / "real").iterdir()) if kind == "link" else True


def test_folder_of_another_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.warns(CacheWarning, match="another user"):
        assert not Cache(folder).usable


def test_readable_by_others_is_fine(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o755)
    assert Cache(folder).usable


def test_no_folder_no_words() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for entries in (Cache(None), Cache("/proc/none/of/this")):
            entries.store("ab", HEADER, BLOCKS)
            assert entries.load("ab") is None and entries.info()["reason"]


def test_disk_full(entries: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write", full)
    entries.store("cd", HEADER, BLOCKS)
    assert entries.load("cd") is None and entries.load("ab") == (HEADER, BLOCKS)
    assert not list(file_of(entries).parent.glob("*.tmp"))


def test_folder_that_goes_away(entries: Cache) -> None:
    for path in file_of(entries).parent.iterdir():
        path.unlink()
    file_of(entries).parent.rmdir()
    assert entries.load("ab") is None
    entries.store("ab", HEADER, BLOCKS)
    assert entries.info()["entries"] == 0 or entries.load("ab") == (HEADER, BLOCKS)


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    entries = Cache(tmp_path / "cache", limit=5000)
    for k in range(4):
        entries.store(f"{k}", {}, [bytes(1000)])
        os.utime(file_of(entries, f"{k}"), (k, k))
    assert entries.load("0") is not None  # now the most recent
    entries.store("4", {}, [bytes(1500)])
    assert [entries.load(f"{k}") is not None for k in range(5)] == [True, False, True, True, True]
    assert entries.info()["bytes"] <= 5000


def test_left_over_temporary_files_go(entries: Cache) -> None:
    old, new = file_of(entries).with_name("ef.1.1.tmp"), file_of(entries).with_name("gh.2.2.tmp")
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    entries.store("cd", HEADER, BLOCKS)
    assert not old.exists() and new.exists()
    assert entries.info()["entries"] == 2 and entries.clear() == 2 and entries.load("ab") is None


def test_default_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMGRAD_CACHE_DIR", str(tmp_path / "a" / "b"))
    first = cache.default()
    assert first.folder == tmp_path / "a" / "b" and first.usable and cache.default() is first
    monkeypatch.setenv("SYMGRAD_CACHE_DIR", str(tmp_path / "c"))
    assert cache.default().folder == tmp_path / "c"
    monkeypatch.delenv("SYMGRAD_CACHE_DIR")
    monkeypatch.setattr(cache, "_known", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "d"))
    folder = cache.default().folder
    assert folder is not None and folder.name == "symgrad"


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    for name in ("HOME", "XDG_CACHE_HOME", "SYMGRAD_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert cache._user_folder() is None or os.path.isabs(cache._user_folder() or "")


def test_store_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMGRAD_CACHE_DIR", str(tmp_path / "cache"))
    islands, others = cache.Store("island"), cache.Store("other")
    islands.store("x + 1", "1 + x — é")
    assert islands.load("x + 1") == "1 + x — é" and others.load("x + 1") is None and islands.load("x + 2") is None


def test_digest_tells_values_apart() -> None:
    parts: list[list[object]] = [["ab", "c"], ["a", "bc"], ["abc"], [b"abc"], [1, 2], [12], [(1,), 2], [0.0], [-0.0], [0], [False], []]
    assert len({cache.digest(p) for p in parts}) == len(parts)


def test_versions_are_the_same_every_time() -> None:
    cache.versions.cache_clear()
    first = cache.versions()
    cache.versions.cache_clear()
    assert cache.versions() == first and len(first) >= 8


def test_source_that_changed_under_the_process(entries: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_imported_at", time.time() + 1e6)
    assert cache.source_is_what_runs()
    monkeypatch.setattr(cache, "_imported_at", 0.0)
    assert not cache.source_is_what_runs()
    entries.store("cd", HEADER, BLOCKS)
    assert entries.load("cd") is None


def write_and_read(folder: str, seed: int) -> None:
    entries, rng = Cache(folder), np.random.default_rng(seed)
    for _ in range(60):
        number = int(rng.integers(5))
        block = bytes([number]) * (1000 + 100 * number)
        found = entries.load(str(number))
        assert found is None or found == ({"number": number}, [block])
        entries.store(str(number), {"number": number}, [block])
        if rng.integers(10) == 0:
            entries.clear()


@pytest.mark.slow
def test_many_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_and_read, args=(str(tmp_path / "cache"), seed)) for seed in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert not list((tmp_path / "cache").glob("*.tmp"))
