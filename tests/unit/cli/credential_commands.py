"""`kubectl mailpush credentials` as its own process, as an administrator starts it."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final, NamedTuple

from tests.unit.admin.shelf import LOGIN

SCRIPT: Final = Path(sys.executable).parent / "kubectl-mailpush"


class Done(NamedTuple):
    code: int
    out: str
    err: str


async def run(*arguments: str, stdin: bytes = b"", **environment: str) -> Done:
    child = await asyncio.create_subprocess_exec(
        SCRIPT,
        "credentials",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
    )
    async with asyncio.timeout(120):
        out, err = await child.communicate(stdin)
    assert child.returncode is not None
    return Done(child.returncode, out.decode(), err.decode())


def login_file(folder: Path, password: str = LOGIN[1]) -> Path:
    path = folder / "adminpass"
    path.write_text(f"{password}\n")
    return path
