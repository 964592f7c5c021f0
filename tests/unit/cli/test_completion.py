"""What kubectl is answered when it asks for the completion of `kubectl mailpush`."""

import subprocess
import sys
from pathlib import Path

import pytest

from mailpush.cli.kubectl.completion import lines
from mailpush.cli.kubectl.main import NAME, main


@pytest.mark.parametrize(
    ("words", "values", "directive"),
    [
        ([""], sorted(main.commands), 4),
        (["ex"], ["explain"], 4),
        (["explain", "1", "3", "--con"], ["--config", "--context"], 4),
        (["explain", "-o", ""], ["text", "json"], 4),
        (["explain", "--output=j"], ["--output=json"], 4),
        (["explain", "-f", "ex"], [], 0),
        (["render", "--filename="], [], 0),
        (["render", "-o", ""], [], 16),
        (["explain", ""], [], 4),
        (["explain", "1", "3", "=x"], [], 4),
    ],
)
def test_the_shell_is_proposed_what_may_stand_there(words: list[str], values: list[str], directive: int) -> None:
    *proposed, last = lines(words)
    assert [line.partition("\t")[0] for line in proposed] == values
    assert last == f":{directive}"


def test_every_proposal_is_described_on_its_line() -> None:
    *proposed, _ = lines(["explain", "-"])
    assert len(proposed) > 5
    assert all(line.partition("\t")[2] and "\n" not in line for line in proposed)


def test_the_command_that_kubectl_looks_for_is_installed() -> None:
    command = Path(sys.executable).parent / "kubectl_complete-mailpush"
    done = subprocess.run([command, "re"], capture_output=True, text=True, check=True)
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["render", "resync", ":4"]


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)])
def test_help_names_the_command_as_it_is_written(command: list[str]) -> None:
    script = Path(sys.executable).parent / "kubectl-mailpush"
    done = subprocess.run([script, *command, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(" ".join(["Usage:", NAME, *command]) + " ")
    wrong = subprocess.run([script, *command, "--nonsense"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"Usage: {NAME}")
    assert f"Try '{' '.join([NAME, *command])} --help'" in wrong.stderr
    assert "kubectl-mailpush" not in done.stdout + wrong.stderr
