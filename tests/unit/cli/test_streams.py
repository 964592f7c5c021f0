"""Standard streams that do not take what is written: the answer, which is the exit code, stays what it is."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mailpush.cli.clicked import code_of
from mailpush.cli.kubectl.main import main as kubectl
from mailpush.cli.main import SERVICES
from mailpush.cli.main import main as mail_push

BIN = Path(sys.executable).parent
NOBODY = """
apiVersion: mailpush.dev/v1alpha1
kind: MailPushConfig
metadata: {name: main}
spec: {listeners: {replicas: 0}}
---
apiVersion: mailpush.dev/v1alpha1
kind: PushUser
metadata: {name: main-1-3}
spec: {configRef: {name: main}, contextId: 1, userId: 3, login: "anna 📬"}
"""
HELP = [
    *(["kubectl-mailpush", name, "--help"] for name in kubectl.commands),
    *(["mail-push", name, "--help"] for name in mail_push.commands if name not in SERVICES),
    ["kubectl-mailpush", "--help"],
    ["mail-push", "--version"],
    ["pushusers", "--help"],
]
"""Every command that says something."""


def program(command: list[str]) -> list[str]:
    return [str(BIN / command[0]), *command[1:]]


def to_nobody(command: list[str], **options: str) -> "subprocess.CompletedProcess[str]":
    """With a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            program(command),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, **options},
        )
    finally:
        os.close(writer)


@pytest.fixture
def manifests(tmp_path: Path) -> str:
    file = tmp_path / "nobody.yaml"
    file.write_text(NOBODY, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_a_reader_that_is_gone_changes_no_exit_code_and_is_no_fault(command: list[str]) -> None:
    done = to_nobody(command)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_a_disk_that_is_full_is_told_and_is_no_answer(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program(command), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    name = command[0].replace("-", " ") if command[0].startswith("kubectl") else command[0]
    assert done.stderr == f"{name}: the answer cannot be written: No space left on device\n"
    assert done.returncode == (1 if name == "pushusers" else 2)


@pytest.mark.parametrize("output", ["text", "json"])
def test_not_listened_for_is_1_whoever_reads(manifests: str, output: str) -> None:
    command = ["kubectl-mailpush", "explain", "1", "3", "-f", manifests, "-o", output]
    done = to_nobody(command)
    assert (done.returncode, done.stderr) == (1, "")
    closed = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&-', "sh", *program(command)], stderr=subprocess.PIPE, text=True, check=False
    )
    assert closed.returncode == 2
    assert closed.stderr == "kubectl mailpush: the answer cannot be written: Bad file descriptor\n"
    both = subprocess.run(["/bin/sh", "-c", '"$@" >&- 2>&-', "sh", *program(command)], check=False)
    assert both.returncode == 2


def test_what_the_encoding_does_not_have_is_escaped(manifests: str) -> None:
    Path(manifests).write_text(NOBODY.replace("0}}", "0}, properties: {a.b: 📬}}"), encoding="utf-8")
    command = program(["kubectl-mailpush", "render", "-f", manifests])
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert b"a.b" in done.stdout
    assert (done.stdout + done.stderr).isascii()
    assert b"Traceback" not in done.stderr


def test_a_full_pipe_that_does_not_block_is_waited_for() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, fcntl.fcntl(writer, fcntl.F_GETFL) | os.O_NONBLOCK)
    filled = 0
    try:
        while True:
            filled += os.write(writer, b"x" * 4096)
    except BlockingIOError:
        pass
    process = subprocess.Popen(program(["pushusers", "-h"]), stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        assert stream.read().lstrip(b"x").startswith(b"usage: pushusers ")
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("a fault of ours"), 2),
        (SystemExit("in words"), 2),
        (SystemExit(1), 1),
        (SystemExit(None), 0),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("no"), 2),
        (click.ClickException("no"), 2),
    ],
)
def test_1_is_only_what_a_command_answers(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.group()
    def group() -> None: ...

    @group.command()
    def ask() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["x", "ask"])
    assert code_of(group, "x") == code
    assert capsys.readouterr().out == ""
