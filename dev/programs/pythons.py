"""Pythons of this machine, by version: the tests run on the image's as well where one is found."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dev.processes import run


def find(version: str) -> Path | None:
    """A Python of a version such as `3.13` that has venv; None where there is none.

    Looked for in this order: the one that the variable `PYTHON313` names (for 3.13), `python3.13` of the PATH, pyenv's.
    """
    return next((path for path in _candidates(version) if _fits(path, version)), None)


def _candidates(version: str) -> Iterator[Path]:
    if named := os.environ.get(f"PYTHON{version.replace('.', '')}"):
        yield Path(named)
    if found := shutil.which(f"python{version}"):
        yield Path(found)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True)


def _fits(path: Path, version: str) -> bool:
    if not path.exists():
        return False
    code = "import ensurepip, sys, venv; print('{}.{}'.format(*sys.version_info))"
    done = run.quiet(path, "-c", code, check=False)
    return done.returncode == 0 and done.stdout.strip() == version
