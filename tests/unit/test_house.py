"""Rules of the repository that no other tool checks."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

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


HOME = re.compile(
    r"""(?: (?<![\w.}-]) | (?<=\s-[A-Za-z]) | (?<=^-[A-Za-z]) )   # not within a path, but after an option
    (?: /(?:home|Users)/[\w.-]+ | /root/[\w.-] )
    | [A-Za-z]:(?:\\{1,2}|/)Users(?:\\{1,2}|/)\w""",
    re.VERBOSE,
)
"""A home folder, somebody's or root's."""


@pytest.mark.parametrize(
    "text",
    [
        "/home/anton/mail",
        "see /Users/berta.",
        "'/root/.cache'",
        "path=/root/x",
        r"C:\\Users\\anton",
        r"C:\Users\anton",
        "c:/Users/anton",
        "cc -I/home/anton/include",
        "-v/root/x",
        "PATH=/bin:/home/anton/bin",
    ],
)
def test_a_path_of_somebody_s_machine_is_found(text: str) -> None:
    assert HOME.search(text)


@pytest.mark.parametrize(
    "text", ["/root", "{folder}/root/run", "/var/lib/home/x", "the /home page", "~/.cache", "/roots/x"]
)
def test_other_paths_are_not(text: str) -> None:
    assert not HOME.search(text)


def test_no_tracked_file_names_a_path_of_somebody_s_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        if path != Path(__file__) and not path.name.startswith("requirements")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if HOME.search(line)
    ]
    assert not found


def test_each_fragment_of_the_changelog_has_a_kind_and_is_one_sentence_or_a_few() -> None:
    kinds = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["fragment"]
    for path in (ROOT / "changes").glob("*"):
        if path.name != "README.md":
            assert re.fullmatch(rf"\+[a-z0-9-]+\.({'|'.join(kinds)})\.md", path.name), (
                f"{path.name}: see changes/README.md"
            )
            assert path.read_text().strip().endswith("."), path.name


def test_the_help_of_make_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z]+)*:(?!=)", text, re.MULTILINE))
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert targets == set(re.findall(r"^make ([a-z-]+)", listed, re.MULTILINE))
