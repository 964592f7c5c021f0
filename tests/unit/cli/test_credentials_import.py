"""`kubectl mailpush credentials import`: files as they come, a bad line, and going on after it stopped."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailpush.admin.server import AdminServer
from mailpush.cli.kubectl.credentials import importing
from mailpush.cli.kubectl.credentials.endpoint import Answer, Endpoint
from mailpush.cli.kubectl.credentials.importing import Import
from mailpush.cli.kubectl.credentials.rows import Row, rows
from mailpush.cli.kubectl.manifests import Trouble
from tests.unit.admin.shelf import Shelf
from tests.unit.cli.credential_commands import Done
from tests.unit.cli.test_credentials import Command, command, server, shelf  # noqa: F401 - fixtures


def ndjson(*users: int) -> str:
    return "".join(json.dumps({"context": 1, "user": user, "password": f"p{user}"}) + "\n" for user in users)


async def test_both_forms_are_taken_from_a_file_and_from_standard_input(
    command: Command,  # noqa: F811
    shelf: Shelf,  # noqa: F811
    tmp_path: Path,
) -> None:
    csv = 'context,user,password\n1,3,plain\n1,4,"with, comma and ""quotes"""\r\n\n1,5, blanks \n1,6,ä\n'
    wanted = {(1, 3): "plain", (1, 4): 'with, comma and "quotes"', (1, 5): " blanks ", (1, 6): "ä"}
    other = "user,password,context\n3,plain,1\n"
    for name, text, passwords in (
        ("a.csv", csv, wanted),
        ("noname", "\ufeff" + csv, wanted),
        ("b.csv", other, {(1, 3): "plain"}),
        ("a.ndjson", ndjson(7, 8), {(1, 7): "p7", (1, 8): "p8"}),
        ("noname2", "\ufeff" + ndjson(7, 8)[:-1], {(1, 7): "p7", (1, 8): "p8"}),
    ):
        file = tmp_path / name
        file.write_text(text)
        file.chmod(0o600)
        for stdin, argument in ((b"", str(file)), (text.encode(), "-")):
            shelf.passwords = {}
            done = await command("import", argument, stdin=stdin)
            assert done == Done(0, f"{len(passwords)} stored, 0 unchanged, 0 refused\n", ""), (name, argument)
            assert shelf.passwords == passwords


async def test_a_file_that_everybody_may_read_is_warned_of(command: Command, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "a.ndjson"
    file.write_text(ndjson(3))
    file.chmod(0o644)
    done = await command("import", str(file))
    assert done.code == 0
    assert done.err.startswith("warning: everybody on this machine may read ")


async def test_what_is_refused_is_named_by_its_line_and_never_repeated(
    command: Command,  # noqa: F811
    shelf: Shelf,  # noqa: F811
) -> None:
    csv = 'context,user,password\n1,3,good\n1,x,s3cret\n\n1,s3cret\n1,4,"s3cret\n1,5,\n1,6,s3cret,s3cret\n1,7,good'
    bad = b"\n1,8,s3cret\xff\n1,9,s3cret\0\n" + b"1,10," + b"s3cret" * 20000 + b"\n1,11,good\n"
    done = await command("import", "-", "--format", "csv", stdin=csv.encode() + bad)
    assert (done.code, done.out) == (1, "3 stored, 0 unchanged, 8 refused\n")
    assert [line.split()[1] for line in done.err.splitlines()] == ["3", "5", "6", "7", "8", "10", "11", "12"]
    assert "s3cret" not in done.err
    assert sorted(shelf.passwords) == [(1, 3), (1, 7), (1, 11)]


async def test_an_import_that_stopped_goes_on_where_it_says(
    command: Command,  # noqa: F811
    shelf: Shelf,  # noqa: F811
    server: AdminServer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store goes away, and asks for more patience than the command has."""
    monkeypatch.setattr("mailpush.admin.credentials.RETRY_SECONDS", 3600)
    users = range(1, 5001)
    shelf.down = 6
    stopped = await command("import", "-", stdin=ndjson(*users).encode())
    assert stopped.code == 2
    assert "gives no answer" in stopped.err
    line = int(stopped.err.split("--from-line ")[1])
    assert line == len(shelf.passwords) + 1 > 1
    assert stopped.err.splitlines()[-1].startswith(f"{line - 1} stored, 0 unchanged, 0 refused; go on with ")
    shelf.down = None
    done = await command("import", "-", "--from-line", str(line), stdin=ndjson(*users).encode())
    assert done.out == f"{5000 - line + 1} stored, 0 unchanged, 0 refused\n"
    assert len(shelf.passwords) == 5000


@pytest.mark.parametrize("heading", ["", "a,b,c", "context,user", "1,3,s3cret", "context,user,password,password"])
async def test_a_csv_says_what_its_columns_are(command: Command, shelf: Shelf, heading: str) -> None:  # noqa: F811
    done = await command("import", "-", "--format", "csv", stdin=f"{heading}\n1,3,s3cret\n".encode())
    assert (done.code, done.out) == (2, "")
    assert done.err == "the first line of the CSV is to be: context,user,password\n"
    assert shelf.puts == []


async def test_a_file_that_is_not_there_is_said(command: Command, tmp_path: Path) -> None:  # noqa: F811
    done = await command("import", str(tmp_path / "none"))
    assert (done.code, done.err) == (2, f"{tmp_path / 'none'} cannot be read: No such file or directory\n")


class Halting(Endpoint):
    """Does so many lines of each request, and then says that it stopped."""

    def __init__(self, *does: int) -> None:
        self.does = iter(does)
        self.seen: list[bytes] = []

    def load(self, lines: bytes) -> Answer:
        sent = lines.splitlines()
        count = min(next(self.does), len(sent))
        self.seen += sent[:count]
        last = {"through": count, "stored": count, "unchanged": 0, "refused": 0, "done": count == len(sent)}
        return Answer(200, [last if last["done"] else {**last, "error": "the store is away"}])


def numbered(count: int) -> Iterator[Row]:
    return (Row(line, str(line).encode()) for line in range(1, count + 1))


def test_what_was_not_done_is_sent_again_and_what_was_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    asked, run = Halting(3, 5, 100), Import(1)
    run.run(numbered(10), asked)
    assert asked.seen == [str(line).encode() for line in range(1, 11)]
    assert (run.next_line, run.counts["stored"]) == (11, 10)
    assert "line 4: the store is away; trying again" in capsys.readouterr().err


def test_where_nothing_gets_on_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "LINES", 4)
    run = Import(1)
    with pytest.raises(Trouble, match="the store is away"):
        run.run(numbered(10), Halting(4, 0))
    assert run.next_line == 5


def test_memory_does_not_grow_with_the_file() -> None:
    """A file without an end: what is read is what was asked for."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as sink:
        sink.write(b"context,user,password\n1,3,x\n1,4,y\n")
        sink.flush()
        found = rows(source, None, "-")
        assert [next(found).line for _ in range(2)] == [2, 3]
