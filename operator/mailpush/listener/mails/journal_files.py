"""The files of the journal: segments that are written in order and read once, by the next process."""

import errno
import os
from pathlib import Path
from typing import Final

_SUFFIX: Final = ".journal"
_READ_BYTES: Final = 1024 * 1024
_MENDING: Final = b"~\n"
"""After a line that broke off: it must not become whole by what follows."""


class JournalFiles:
    """One folder. Each method raises OSError where the disk is full or broken, and may be called again then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None
        self._torn = False
        self._serial = 0

    @property
    def serial(self) -> int:
        """Of the newest segment, here or before this process."""
        return self._serial

    def segments(self) -> list[Path]:
        """What is there, oldest first."""
        found = {}
        for name in os.listdir(self._folder):  # noqa: PTH208 - as the rest here, so that a test can let each call fail
            stem = name.removesuffix(_SUFFIX)
            if stem != name and stem.isascii() and stem.isdecimal():
                found[int(stem)] = self._folder / name
        self._serial = max(self._serial, *found, 0)
        return [found[serial] for serial in sorted(found)]

    def read(self, path: Path) -> bytes:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = []
            while part := os.read(file, _READ_BYTES):
                parts.append(part)
            return b"".join(parts)
        finally:
            _close(file)

    def begin(self) -> Path:
        """Begins the next segment; where that fails, the one before goes on."""
        self._serial += 1  # also after a failure, which may have left a file
        path = self._folder / f"{self._serial:012d}{_SUFFIX}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.close()
        self._file, self._torn = file, False
        return path

    def write(self, data: bytes) -> int:
        """Appends to the newest segment. How many bytes of `data` stand there, from the first on: on a full disk fewer
        than all.
        """
        if self._file is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        mending = _MENDING if self._torn else b""
        self._torn = True
        written = os.write(self._file, mending + data)
        self._torn = written < len(mending) + len(data)
        return max(written - len(mending), 0)

    def delete(self, path: Path) -> None:
        os.unlink(path)  # noqa: PTH108

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            _close(file)


def _close(file: int) -> None:
    """Never raises: Linux has closed the file also where it reports an error, and what was written stands."""
    try:
        os.close(file)
    except OSError:
        return
