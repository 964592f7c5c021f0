"""`kubectl mailpush credentials` against an endpoint by its URL: what it sends, says and exits with."""

import asyncio
import contextlib
import json
import os
import pty
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from dev.cluster.pki import Authority
from mailpush.admin.server import AdminAccess, AdminServer
from tests.unit.admin.shelf import LOGIN, Nobody, Shelf
from tests.unit.cli.credential_commands import SCRIPT, Done, login_file, run

PLANTED = "pl4nted-pässword"
Command = Callable[..., Coroutine[None, None, Done]]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def server(shelf: Shelf) -> AsyncIterator[AdminServer]:
    server = AdminServer(Nobody(), AdminAccess(*LOGIN), "set a login", credentials=shelf)
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


@pytest.fixture
def command(server: AdminServer, tmp_path: Path) -> Command:
    async def asked(*arguments: str, stdin: bytes = b"") -> Done:
        way = ("--url", f"http://127.0.0.1:{server.port}", "--adminuser", LOGIN[0])
        return await run(*arguments, *way, "--adminpass-file", str(login_file(tmp_path)), stdin=stdin)

    return asked


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
async def test_put_takes_the_password_from_standard_input(command: Command, shelf: Shelf, ending: bytes) -> None:
    done = await command("put", "1", "3", stdin=f" {PLANTED} ".encode() + ending)
    assert done == Done(0, "stored the password of user 3 in context 1\n", "")
    assert shelf.passwords == {(1, 3): f" {PLANTED} "}
    again = await command("put", "1", "3", stdin=f" {PLANTED} ".encode())
    assert again == Done(0, "the same password stands there already of user 3 in context 1\n", "")


@pytest.mark.parametrize(
    "stdin", [b"", b"\n", b" \n", b"s3cret\nmore\n", b"s3cret\0", b"s3cret\xff", b"s3cret" * 60, b"s3cret" * 2000]
)
async def test_what_is_no_password_is_not_sent(command: Command, shelf: Shelf, stdin: bytes) -> None:
    done = await command("put", "1", "3", stdin=stdin)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("not stored: ")
    assert "s3cret" not in done.err
    assert shelf.puts == []


@pytest.mark.parametrize(
    "words",
    [
        ("put", "1", "3", "s3cret"),
        ("put", "1", "s3cret"),
        ("put", "s3cret", "3"),
        ("put", "1", "3", "--p=s3cret"),
        ("put", "1", "3", "-ps3cret"),
        ("put", "1", "3", "--password", "s3cret"),
        ("import", "a", "s3cret"),
    ],
)
async def test_a_password_on_the_command_line_is_not_taken_and_not_repeated(words: tuple[str, ...]) -> None:
    done = await run(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: kubectl mailpush credentials ")
    assert "s3cret" not in done.err


@pytest.mark.parametrize(("second", "code"), [(PLANTED, 0), ("another", 2)])
async def test_a_terminal_is_prompted_twice_and_shows_nothing(
    server: AdminServer, shelf: Shelf, tmp_path: Path, second: str, code: int
) -> None:
    arguments = ["put", "1", "3", "--url", f"http://127.0.0.1:{server.port}", "--adminuser", LOGIN[0]]
    arguments += ["--adminpass-file", str(login_file(tmp_path))]
    shown, ended = await asyncio.to_thread(in_a_terminal, arguments, (PLANTED, second))
    assert ended == code, shown
    assert shown.count("assword of user 3 in context 1: ") == 1
    assert PLANTED not in shown
    assert shelf.passwords == ({(1, 3): PLANTED} if code == 0 else {})


def in_a_terminal(arguments: list[str], answers: tuple[str, ...]) -> tuple[str, int]:
    """What the terminal shows where each question is answered, and the exit code."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(SCRIPT, [str(SCRIPT), "credentials", *arguments])
    shown, asked = b"", 0
    with contextlib.suppress(OSError):  # EIO: it has ended
        while data := os.read(terminal, 1024):
            shown += data
            if shown.endswith(b": ") and asked < len(answers):
                os.write(terminal, f"{answers[asked]}\n".encode())
                asked += 1
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return shown.decode(), os.waitstatus_to_exitcode(status)


async def test_test_says_what_the_mail_server_said_by_sentence_and_exit_code(command: Command, shelf: Shelf) -> None:
    refused = await command("test", "1", "3")
    assert (refused.code, refused.err) == (1, "")
    assert refused.out.startswith("the mail server refuses the password of user 3 in context 1: AuthenticationFailed: ")
    throttled = await command("test", "1", "3")
    assert throttled == Done(2, "", "tried a moment ago; try again in 42 s\n")
    assert shelf.tested == [(1, 3)], "and it is not sent again by itself"


async def test_delete_says_whether_there_was_one(command: Command, shelf: Shelf) -> None:
    shelf.passwords = {(1, 3): PLANTED}
    assert await command("delete", "1", "3") == Done(0, "deleted the password of user 3 in context 1\n", "")
    assert await command("delete", "1", "3") == Done(1, "no password is stored of user 3 in context 1\n", "")


async def test_list_prints_all_pages_in_three_ways(command: Command, shelf: Shelf) -> None:
    shelf.passwords = {(1, user): PLANTED for user in range(1, 2346)}
    table = (await command("list")).out.splitlines()
    assert table[0].split() == ["CONTEXT", "USER", "STATE", "CHANGED", "WORKED", "REFUSED"]
    assert table[2345].split() == ["1", "2345", "encrypted", "2023-11-14T22:13:20Z"]
    names = (await command("list", "-o", "name")).out
    assert names.splitlines() == [f"1 {user}" for user in range(1, 2346)]
    rows = json.loads((await command("list", "-o", "json")).out)["credentials"]
    assert [row["user"] for row in rows] == list(range(1, 2346))
    shelf.passwords = {}
    assert json.loads((await command("list", "-o", "json")).out) == {"credentials": []}


@pytest.mark.parametrize("subcommand", [("put", "1", "3"), ("test", "1", "3"), ("delete", "1", "3"), ("list",)])
async def test_a_wrong_login_is_said_once(server: AdminServer, tmp_path: Path, subcommand: tuple[str, ...]) -> None:
    way = ("--url", f"http://127.0.0.1:{server.port}", "--adminuser", LOGIN[0])
    done = await run(*subcommand, *way, "--adminpass-file", str(login_file(tmp_path, "wrong")), stdin=b"x")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "refuses the login" in done.err


async def test_tls_is_verified_against_the_authority_that_is_named(
    server: AdminServer, shelf: Shelf, tmp_path: Path
) -> None:
    ours, stranger = Authority.new("ours"), Authority.new("another")
    pair = ours.issue("endpoint", names=("127.0.0.1",))
    for name, authority in {"ours": ours, "stranger": stranger}.items():
        (tmp_path / name).write_bytes(authority.pair.certificate)
    await server.use(
        replace(AdminAccess(*LOGIN), certificate=pair.certificate.decode(), key=pair.key.decode()),
    )
    asked = partial(
        run, "put", "1", "3", "--adminuser", LOGIN[0], "--adminpass-file", str(login_file(tmp_path)), stdin=b"new"
    )
    url = f"https://127.0.0.1:{server.port}"
    wrong = await asked("--url", url, "--ca-file", str(tmp_path / "stranger"))
    assert (wrong.code, "unable to get local issuer certificate" in wrong.err) == (2, True)
    plain = await asked("--url", url.replace("https", "http"))
    assert plain.code == 2
    assert shelf.puts == []
    assert (await asked("--url", url, "--ca-file", str(tmp_path / "ours"))).code == 0
    assert shelf.passwords == {(1, 3): "new"}


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://mail.example:1099", "use https"), ("ftp://mail.example", "is https://"), ("mail.example", "is https://"),
     ("https://oxadmin:s3cret@mail.example", "--adminpass-file"), ("https://mail.example/x", "without a path"),
     ("https://[x", "is https://"), ("https://mail.example:99999", "is https://")],
)  # fmt: skip
async def test_a_url_over_which_passwords_could_be_read_is_refused(url: str, words: str, tmp_path: Path) -> None:
    file = str(login_file(tmp_path))
    done = await run("put", "1", "3", "--url", url, "--adminuser", "x", "--adminpass-file", file, stdin=b"x")
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "s3cret" not in done.err


async def test_without_a_cluster_it_says_how_to_do_without() -> None:
    done = await run("put", "1", "3", stdin=b"x")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "kubeconfig" in done.err


async def test_what_is_no_endpoint_is_told_in_a_sentence(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        way = ("--url", f"http://127.0.0.1:{port}", "--adminuser", "x", "--adminpass-file", str(login_file(tmp_path)))
        for subcommand in (("put", "1", "3"), ("test", "1", "3"), ("delete", "1", "3"), ("list",), ("import", "-")):
            done = await run(*subcommand, *way, stdin=b"{}")
            assert (done.code, done.err.count("no admin endpoint of Mail Push")) == (2, 1), subcommand


def test_a_pinned_certificate_is_the_only_one_that_is_trusted() -> None:
    from mailpush.cli.kubectl.credentials.tls import pinned
    from mailpush.cli.kubectl.manifests import Trouble

    authority = Authority.new("ours")
    chain = authority.issue("a").certificate + authority.pair.certificate
    context = pinned(chain.decode(), "Secret tls")
    assert context.cert_store_stats()["x509"] == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    for nothing in ("", "x", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"):
        with pytest.raises(Trouble, match="Secret tls holds no certificate"):
            pinned(nothing, "Secret tls")
