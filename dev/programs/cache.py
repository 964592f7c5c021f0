"""The cache outside the work tree: every entry is put in place by one rename, and built by one process at a time."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.processes.progress import say


def root() -> Path:
    """`$MAILPUSH_CACHE`, else `$XDG_CACHE_HOME/mail-push`, else `~/.cache/mail-push`; made when missing."""
    named = os.environ.get("MAILPUSH_CACHE")
    if named:
        path = Path(named)
    else:
        home = os.environ.get("XDG_CACHE_HOME")
        path = (Path(home) if home else Path.home() / ".cache") / "mail-push"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def entry(kind: str, name: str) -> Path:
    """Where an entry belongs, whether it is there or not; `kind` is the folder."""
    folder = root() / kind
    folder.mkdir(exist_ok=True)
    return folder / name


def hash_of(*parts: bytes) -> str:
    """Twelve hexadecimal digits, as a part of an entry's name."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Held by one process of the machine at a time; the kernel frees it when the process dies."""
    path = entry("locks", name.replace("/", "_"))
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that makes {name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def once(target: Path, make: Callable[[Path], None]) -> Path:
    """`target`, made by `make(path)` if it is not there; `make` gets a path in the same folder to fill.

    A process killed half way leaves a `.tmp-` folder, which the next one that makes an entry there removes.
    """
    if target.exists():
        return target
    with lock(f"{target.parent.name}/{target.name}"):
        if target.exists():
            return target
        for left in target.parent.glob(f".tmp-{target.name}-*"):
            shutil.rmtree(left, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".tmp-{target.name}-", dir=target.parent))
        try:
            made = work / target.name
            make(made)
            made.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target
