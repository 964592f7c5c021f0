"""Rules of the repository that no other tool checks."""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    # Whoever runs the tests need not own the checkout.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_operator_is_no_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists(), "it would shadow the standard library's operator"


def test_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    wanted = [re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in asked]
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE))
    missing = [name for name in wanted if name not in locked]
    assert not missing, f"not in requirements-dev.txt: {missing}; run make locks"


def test_locks_are_hashed_and_name_no_index() -> None:
    for lock in ROOT.glob("requirements*.txt"):
        text = lock.read_text()
        pins = re.findall(r"^[a-z0-9-]+==\S+", text, re.MULTILINE)
        assert pins
        assert text.count("--hash=sha256:") >= len(pins), lock.name
        assert "://" not in text, f"{lock.name} names an address"


def test_no_tracked_file_names_a_path_of_somebody_s_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".sh", ".tpl", ".txt"} and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if re.search(r"/(home|Users)/[a-z]+/|/work/(main|shared)|/root/\.(pyenv|cache)", line)
    ]
    assert not found
