"""The sub-commands of `kubectl mailpush credentials`. Imports nothing before it is asked to run."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
LARGEST_ID: Final = 2_147_483_647


class _Id(click.ParamType[int]):
    """As click.IntRange, whose error repeats what was given: it may be a password that was not to stand there."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= LARGEST_ID):
            self.fail(f"it is no number from 1 to {LARGEST_ID}", param, ctx)
        return int(text)


class _Command(click.Command):
    """As click's, whose error repeats words too many."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise click.UsageError(
                "there are words too many. A password never stands on a command line, where others can read it: "
                "change it where that was one",
                ctx,
            )
        return rest


def _reaching(command: Decorated) -> Decorated:
    """The options that say how the endpoint is reached."""
    for option in (
        click.option("--adminpass-file", type=click.Path(), help="A file with its password. Default: a prompt."),
        click.option("--adminuser", help="The endpoint's login. Default: that of admin.authSecretRef's Secret."),
        click.option("--ca-file", type=click.Path(), help="With --url: authorities to trust, in PEM."),
        click.option("--url", help="Ask this endpoint (https://HOST:1099) instead of forwarding a port by kubectl."),
        click.option("--context", help="A context of the kubeconfig. Default: the current one."),
        click.option("--kubeconfig", type=click.Path(), help="Default: $KUBECONFIG, or ~/.kube/config."),
        click.option("-n", "--namespace", help="Default: that of the kubeconfig's context."),
        click.option("--config", help="The MailPushConfig. Default: the only one of the namespace."),
    ):
        command = option(command)
    return command


def _user(command: Decorated) -> Decorated:
    for name in ("USER", "CONTEXT"):
        command = click.argument(f"{name.lower()}_id", metavar=name, type=_Id())(command)
    return command


@click.group()
def credentials() -> None:
    """Put, test, list and delete stored passwords (credentialStorage). No password is ever printed.

    Asks the admin endpoint of a listener pod, through `kubectl port-forward`: that takes the rights to read the
    MailPushConfig, its admin Secrets and Pods, and to create pods/portforward.
    """


@credentials.command(cls=_Command)
@_user
@_reaching
def put(*, context_id: int, user_id: int, **way: Any) -> None:
    """Store a user's password: from standard input, or from a prompt where that is a terminal.

    Exits 0 where it is stored, 2 where it is not.
    """
    from mailpush.cli.kubectl.credentials.reach import Options
    from mailpush.cli.kubectl.credentials.single import put as run

    raise SystemExit(run(context_id, user_id, Options(**way)))


@credentials.command(cls=_Command)
@_user
@_reaching
def test(*, context_id: int, user_id: int, **way: Any) -> None:
    """Try the stored password at the user's mail server: one login, at most one a minute.

    Exits 0 where the server takes it, 1 where it refuses it or none is stored, 2 where that cannot be said.
    """
    from mailpush.cli.kubectl.credentials.reach import Options
    from mailpush.cli.kubectl.credentials.single import test as run

    raise SystemExit(run(context_id, user_id, Options(**way)))


@credentials.command(cls=_Command)
@_user
@_reaching
def delete(*, context_id: int, user_id: int, **way: Any) -> None:
    """Delete a user's stored password.

    Exits 0 where it is deleted, 1 where there was none, 2 where that cannot be done.
    """
    from mailpush.cli.kubectl.credentials.reach import Options
    from mailpush.cli.kubectl.credentials.single import delete as run

    raise SystemExit(run(context_id, user_id, Options(**way)))


@credentials.command(cls=_Command, name="list")
@click.option("-o", "--output", type=click.Choice(["table", "json", "name"]), default="table", help="Default: table.")
@_reaching
def list_(*, output: str, **way: Any) -> None:
    """List whose passwords are stored, and when each was put, worked and was refused."""
    from mailpush.cli.kubectl.credentials.listing import run
    from mailpush.cli.kubectl.credentials.reach import Options

    raise SystemExit(run(output, Options(**way)))


@credentials.command(cls=_Command, name="import")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--format", "form", type=click.Choice(["csv", "ndjson"]), help="Default: as its name or start says.")
@click.option("--from-line", type=click.IntRange(1), default=1, help="Go on here: an import that stops says where.")
@_reaching
def import_(*, file: str, form: str | None, from_line: int, **way: Any) -> None:
    """Store the passwords of FILE (-: standard input).

    NDJSON: {"context": 1, "user": 3, "password": "..."} a line. CSV: the first line is context,user,password.
    What is refused is named with its line, and does not stop the rest.

    Exits 0 where all is stored, 1 where lines are refused, 2 where it stops.
    """
    from mailpush.cli.kubectl.credentials.importing import run
    from mailpush.cli.kubectl.credentials.reach import Options

    raise SystemExit(run(file, form=form, from_line=from_line, options=Options(**way)))


@credentials.command(cls=_Command)
@click.argument("config", metavar="[NAME]", required=False)
@click.option("-n", "--namespace", help="Default: that of the kubeconfig's context.")
@click.option("--kubeconfig", type=click.Path(), help="Default: $KUBECONFIG, or ~/.kube/config.")
@click.option("--context", help="A context of the kubeconfig. Default: the current one.")
def rotation(**way: Any) -> None:
    """Say whether the previous passcrypt of the MailPushConfig NAME may go.

    Exits 0 where it may, or there is none; 1 where it is needed; 2 where that cannot be said.
    """
    from mailpush.cli.kubectl.credentials.reach import Options
    from mailpush.cli.kubectl.credentials.rotation import run

    raise SystemExit(run(Options(**way)))


@credentials.command(cls=_Command)
@click.argument("config", metavar="[NAME]", required=False)
@click.option("-n", "--namespace", help="Default: that of the kubeconfig's context.")
@click.option("--kubeconfig", type=click.Path(), help="Default: $KUBECONFIG, or ~/.kube/config.")
@click.option("--context", help="A context of the kubeconfig. Default: the current one.")
def migration(**way: Any) -> None:
    """Say whether all passwords of the cluster memory are in the database of the MailPushConfig NAME.

    Exits 0 where they are; 1 where some are still to be copied; 2 where that cannot be said.
    """
    from mailpush.cli.kubectl.credentials.migration import run
    from mailpush.cli.kubectl.credentials.reach import Options

    raise SystemExit(run(Options(**way)))
