"""`pushusers` before servers that answer nonsense, half an answer, or another protocol: one sentence each, exit 1."""

import asyncio
import contextlib
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable

import pytest

from dev.cluster.pki import Authority
from mailpush.admin.server import AdminAccess, AdminServer, Registration, Running
from mailpush.cli.pushusers.command import run

LOGIN = ("-A", "oxadmin", "-P", "secret")
STRANGER = "Remote stub not found: 127.0.0.1:@PORT@ is no admin endpoint of Mail Push"
PERHAPS_TLS = f"{STRANGER}; if it talks TLS, add --ca-file or --tls"
DELETE = ("-r", "-c", "1", "-u", "2", "-i", "x")


def http(body: bytes | str, status: str = "200 OK", length: int | None = None) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content) if length is None else length}\r\n\r\n"
    return head.encode() + content


@contextlib.asynccontextmanager
async def server(answer: bytes, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Gives its port; answers the first thing it is told, then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, host, 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


async def ask(port: int, *arguments: str, host: str = "127.0.0.1") -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = await asyncio.to_thread(run, ["-s", host, "-p", str(port), *LOGIN, *arguments], {}, out, err)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("answer", "arguments", "sentence"),
    [
        (http("{}"), (), STRANGER),
        (http("{}"), ("-l",), STRANGER),
        (http("{}"), DELETE, STRANGER),
        (http('{"deleted": "yes"}'), DELETE, STRANGER),
        (http("[]"), (), STRANGER),
        (http('{"listeners": null}'), (), STRANGER),
        (http('{"listeners": 5}'), (), STRANGER),
        (http('{"listeners": ["x"]}'), (), STRANGER),
        (http('{"listeners": [{"context": 1}]}'), (), STRANGER),
        (http('{"listeners": [{"context": "one", "user": 1, "permanent": true}]}'), (), STRANGER),
        (http('{"listeners": [{"context": 1e999, "user": 1, "permanent": true}]}'), (), STRANGER),
        (http("[" * 100_000), (), STRANGER),
        (http(b'{"listeners": "\xff"}'), (), STRANGER),
        (http("<h1>It works</h1>"), (), STRANGER),
        (http("", "302 Found"), (), STRANGER),
        (http("Bad gateway", "502 Bad Gateway"), (), STRANGER),
        (http("{}", length=100), (), STRANGER),
        (b"\x00\xff" * 100, (), STRANGER),
        (b"", (), PERHAPS_TLS),
        (b"\x15\x03\x01\x00\x02\x02\x46", (), PERHAPS_TLS),
        (http("{}", "500 Oops"), (), "An error occurred."),
        (http('{"error": 5}', "500 Oops"), (), "An error occurred."),
        (http('{"error": "a\\u001b[2Jb\\nc"}', "500 Oops"), (), "a\\x1b[2Jb\\nc"),
    ],
)
async def test_what_is_no_answer_of_ours_is_told_in_one_sentence(
    answer: bytes, arguments: tuple[str, ...], sentence: str
) -> None:
    async with server(answer) as port:
        assert await ask(port, *arguments) == (1, "", sentence.replace("@PORT@", str(port)) + "\n")


async def test_a_client_id_cannot_make_a_terminal_do_anything() -> None:
    rows = {"registrations": [{"context": 1, "user": 2, "client": "a\x1b[31mb\x07\u202e"}]}
    async with server(http(json.dumps(rows))) as port:
        code, out, _ = await ask(port, "-l")
    assert code == 0
    assert out.splitlines()[1].split() == ["1", "2", "a\\x1b[31mb\\x07\\u202e"]


@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_ipv6_addresses_are_taken_with_and_without_brackets(host: str) -> None:
    async with server(http('{"listeners": []}'), "::1") as port:
        assert await ask(port, host=host) == (0, "No running push users on this node.\n", "")


@pytest.mark.parametrize("host", ["[::1]:1099", "localhost:1099", "user@host", "::1%", "a b", "::1]"])
async def test_what_is_no_host_is_named(host: str) -> None:
    assert await ask(7, host=host) == (1, "", f"URL to connect to server is invalid: {host}:7\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--responsetimeout", "2147484"), "The response timeout is out of range: 2147484 (0 to 2147483; 0: none)"),
        (("--responsetimeout", "-1"), "The response timeout is out of range: -1 (0 to 2147483; 0: none)"),
        (("--responsetimeout", "1.5"), "The value of --responsetimeout is not a number: 1.5"),
        (("-r", "-c", "12345678901"), "The value of -c is too big: 12345678901"),
    ],
)
async def test_numbers_that_cannot_be_meant_are_told_with_what_can(arguments: tuple[str, ...], sentence: str) -> None:
    code, out, err = await ask(7, *arguments)
    assert (code, err) == (1, f"{sentence}\n")
    assert out.startswith("usage: pushusers ")


async def test_the_longest_response_timeout_is_taken() -> None:
    async with server(http('{"listeners": []}')) as port:
        assert (await ask(port, "--responsetimeout", "2147483"))[0] == 0


class Nobody:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def listeners(self) -> Iterable[Running]:
        return []

    async def registrations(self) -> Iterable[Registration]:
        return []

    async def unregister(self, context: int, user: int, client: str) -> bool:
        self.asked.append(client)
        return True


@pytest.mark.parametrize("client", ["a{b}", "{", "..", ".", "%2e", "ä\u20ac", "a+b", "\\", "a/b", "?#&;=", "~*'()"])
async def test_every_client_id_can_be_unregistered(client: str) -> None:
    people = Nobody()
    admin = AdminServer(people, AdminAccess("oxadmin", "secret"), "set a login")
    port = await admin.start("127.0.0.1", 0)
    try:
        code, _, err = await ask(port, "-r", "-c", "1", "-u", "2", "-i", client)
    finally:
        await admin.close()
    assert (code, err, people.asked) == (0, "", [client])


@pytest.mark.parametrize(("given", "shown"), [(("-i", ""), ""), (("--client=",), ""), ((), "null")])
async def test_a_client_that_nobody_can_have_is_not_found_as_in_ox(given: tuple[str, ...], shown: str) -> None:
    people = Nobody()
    admin = AdminServer(people, AdminAccess("oxadmin", "secret"), "set a login")
    port = await admin.start("127.0.0.1", 0)
    try:
        code, out, err = await ask(port, "-r", "-c", "1", "-u", "2", *given)
    finally:
        await admin.close()
    assert (code, err, people.asked) == (0, "", [])
    assert out == f"No such push registration for user 2 in context 1 for client '{shown}'\n"


async def test_plain_http_and_tls_that_do_not_fit_are_told_with_the_option_to_change() -> None:
    pair = Authority.new("tests").issue("pushusers", names=("127.0.0.1",))
    access = AdminAccess("oxadmin", "secret", pair.certificate.decode(), pair.key.decode())
    admin = AdminServer(Nobody(), access, "set a login")
    port = await admin.start("127.0.0.1", 0)
    try:
        assert await ask(port) == (1, "", PERHAPS_TLS.replace("@PORT@", str(port)) + "\n")
        await admin.use(AdminAccess("oxadmin", "secret"))
        assert await ask(port, "--tls") == (
            1,
            "",
            "Unable to connect to server: it does not talk TLS (leave --tls and --ca-file away)\n",
        )
    finally:
        await admin.close()


async def test_an_argument_that_is_no_text_does_not_end_the_program_behind_what_it_has_done() -> None:
    program = "from mailpush.cli.pushusers import main; main()"
    async with server(http('{"deleted": true}')) as port:
        done = await asyncio.to_thread(
            lambda: subprocess.run(
                [sys.executable, "-c", program, "-p", str(port), *LOGIN, "-r", "-c", "1", "-u", "2", "-i", b"\xff"],
                capture_output=True,
                check=False,
            )
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"Push registration successfully deleted for user 2 in context 1 for client '")
