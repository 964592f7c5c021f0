"""Standard output and error of a command: what cannot be written changes neither what it does nor its answer."""

import errno
import io
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_READER_GONE: Final = errno.EPIPE


class _Output(io.FileIO):
    """A descriptor that takes everything; `error` is why something did not arrive."""

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self._closed_by_caller = not _is_open(descriptor)
        if self._closed_by_caller:
            super().__init__(os.devnull, "w")
        else:
            super().__init__(descriptor, "w", closefd=False)

    def write(self, data: "ReadableBuffer") -> int:
        size = memoryview(data).nbytes
        if self._closed_by_caller and self.error is None:
            self.error = OSError(errno.EBADF, os.strerror(errno.EBADF))
        while self.error is None:
            try:
                written: int | None = super().write(data)
            except OSError as error:
                self.error = error
            else:
                if written is not None:
                    return written
                select.select([], [self.fileno()], [])  # a full pipe that does not block, such as Node.js gives
        return size


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def answering(command: Callable[[], int], name: str, unwritten: int) -> int:
    """The exit code of a command that writes to `sys.stdout` and `sys.stderr`.

    Where the reader is gone, as with `| head`, it is the command's own, since the answer is. Where the answer cannot be
    written for another reason (a full disk, a closed descriptor), it is `unwritten`, and standard error says why.
    Characters that the terminal's encoding does not have are escaped.
    """
    before = sys.stdout, sys.stderr
    out, err = _Output(1), _Output(2)
    sys.stdout, sys.stderr = _text(out, before[0]), _text(err, before[1])
    try:
        code = command()
        sys.stdout.flush()
        if out.error is not None and out.error.errno != _READER_GONE:
            sys.stderr.write(f"{name}: the answer cannot be written: {out.error.strerror}\n")
            code = unwritten
        sys.stderr.flush()
    finally:
        sys.stdout, sys.stderr = before
    return code


def _text(output: _Output, like: TextIO | None) -> io.TextIOWrapper:
    encoding = like.encoding if like is not None else "utf-8"
    buffer = io.BufferedWriter(output)
    line_buffering = output.isatty() or output.fileno() == 2
    return io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=line_buffering)


def printable(text: str) -> str:
    """What a server says, without what a terminal would act on."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
