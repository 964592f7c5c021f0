"""The sub-commands of `kubectl mailpush`. Imports nothing before it is asked to run."""

from typing import Final

import click

from mailpush import __version__
from mailpush.cli.clicked import end
from mailpush.cli.kubectl.credentials.commands import credentials
from mailpush.cli.kubectl.shards.commands import plan, shards

NAME: Final = "kubectl mailpush"
COMPLETE_VARIABLE: Final = "_KUBECTL_MAILPUSH_COMPLETE"


def start() -> None:
    """The script `kubectl-mailpush`; exits."""
    end(main, NAME, COMPLETE_VARIABLE)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=NAME)
def main() -> None:
    """Ask Mail Push what it does and why."""


@main.command()
@click.argument("context_id", metavar="CONTEXT", type=click.IntRange(1, 2147483647))
@click.argument("user_id", metavar="USER", type=click.IntRange(1, 2147483647))
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(),
    help="Manifests to read in place of a cluster (-: standard input).",
)
@click.option("--config", help="The MailPushConfig, where the user is registered with several.")
@click.option("-n", "--namespace", help="Default: that of the kubeconfig's context.")
@click.option("--kubeconfig", type=click.Path(), help="Default: $KUBECONFIG, or ~/.kube/config.")
@click.option("--context", help="A context of the kubeconfig. Default: the current one.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Default: text.")
def explain(
    *,
    context_id: int,
    user_id: int,
    files: tuple[str, ...],
    config: str | None,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Say for one user which checks of the execution flow pass and which refuses, and what to do.

    Exits 0 where a permanent listener is to run, 1 where it is not, 2 where that cannot be said.
    """
    from mailpush.cli.kubectl.explain import run

    raise SystemExit(
        run(
            context_id,
            user_id,
            files=files,
            config=config,
            namespace=namespace,
            kubeconfig=kubeconfig,
            context=context,
            output=output,
        )
    )


@main.command()
@click.argument("name", required=False)
@click.option(
    "-f",
    "--filename",
    "file",
    type=click.Path(),
    help="A manifest to render in place of a cluster's (-: standard input).",
)
@click.option("-o", "--output", "directory", type=click.Path(file_okay=False), help="Write the files there.")
@click.option("--with-secrets", is_flag=True, help="With -o: also the file with secrets, which nobody else may read.")
@click.option("-n", "--namespace", help="Default: that of the kubeconfig's context.")
@click.option("--kubeconfig", type=click.Path(), help="Default: $KUBECONFIG, or ~/.kube/config.")
@click.option("--context", help="A context of the kubeconfig. Default: the current one.")
def render(
    *,
    name: str | None,
    file: str | None,
    directory: str | None,
    with_secrets: bool,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Print the property files of the MailPushConfig NAME, or of a manifest without any cluster.

    Secrets are never printed: where one stands, its Secret and key are named.
    """
    from mailpush.cli.kubectl.render import run

    raise SystemExit(
        run(
            name,
            file=file,
            directory=directory,
            with_secrets=with_secrets,
            namespace=namespace,
            kubeconfig=kubeconfig,
            context=context,
        )
    )


@main.command()
@click.argument("users", metavar="[PUSHUSER]...", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="All PushUsers of the namespace.")
@click.option("--config", help="With --all: only those of this MailPushConfig.")
@click.option("-n", "--namespace", help="Default: that of the kubeconfig's context.")
@click.option("--kubeconfig", type=click.Path(), help="Default: $KUBECONFIG, or ~/.kube/config.")
@click.option("--context", help="A context of the kubeconfig. Default: the current one.")
def resync(
    *,
    users: tuple[str, ...],
    everybody: bool,
    config: str | None,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Have users looked at at their mail server now, and registered again where that is missing.

    mail-push does so by itself every few hours. The pod that owns a user sees the annotation that this sets.
    """
    from mailpush.cli.kubectl.resync import run

    if everybody == bool(users):
        raise click.UsageError("name the PushUsers, or give --all")
    raise SystemExit(
        run(users, config=config, namespace=namespace, kubeconfig=kubeconfig, context=context),
    )


@main.command()
@click.option("--take-away", is_flag=True, help="Have them unregistered, by the pods of a MailPushConfig.")
@click.option("--config", help="With --take-away: by this one. Default: the one that they were made by.")
@click.option("--wait", "seconds", type=click.IntRange(1, 3600), default=60, help="For each, in seconds. Default: 60.")
@click.option("-n", "--namespace", help="Default: that of the kubeconfig's context.")
@click.option("--kubeconfig", type=click.Path(), help="Default: $KUBECONFIG, or ~/.kube/config.")
@click.option("--context", help="A context of the kubeconfig. Default: the current one.")
def orphans(
    *,
    take_away: bool,
    config: str | None,
    seconds: int,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """List mailboxes that still call although nobody is left to unregister them, and take that away.

    Exits 0 where nothing is left, 1 where something is, 2 where that cannot be said.
    """
    from mailpush.cli.kubectl.orphans import run

    raise SystemExit(
        run(
            take_away=take_away,
            config=config,
            seconds=seconds,
            namespace=namespace,
            kubeconfig=kubeconfig,
            context=context,
        )
    )


@main.command()
@click.option("--all", "everybody", is_flag=True, required=True, help="All users: there is no other choice yet.")
@click.option("--config", help="Only those of this MailPushConfig.")
@click.option("--undo", is_flag=True, help="Listen for them again.")
@click.option(
    "--leave",
    is_flag=True,
    help="Unregister nobody: take the finalizers off, where no operator is left to, and nothing else would end.",
)
@click.option(
    "--stalled",
    type=click.IntRange(1, 86400),
    default=120,
    show_default=True,
    help="End with exit code 1 where for so many seconds none was unregistered.",
)
@click.option("-n", "--namespace", help="Default: that of the kubeconfig's context.")
@click.option("--kubeconfig", type=click.Path(), help="Default: $KUBECONFIG, or ~/.kube/config.")
@click.option("--context", help="A context of the kubeconfig. Default: the current one.")
def unregister(
    *,
    everybody: bool,
    config: str | None,
    undo: bool,
    leave: bool,
    stalled: int,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Have all users unregistered at their mail servers, and say how far that is.

    Stop it and start it again as you like: the pods go on meanwhile. Exits 0 where nobody is registered any more, 1
    where some are, 2 where nothing could be done.
    """
    from mailpush.cli.kubectl.unregister import run

    if undo and leave:
        raise click.UsageError("--undo and --leave are two things: give one of them")
    raise SystemExit(
        run(
            config=config,
            leave=leave,
            undo=undo,
            stalled=stalled,
            namespace=namespace,
            kubeconfig=kubeconfig,
            context=context,
        )
    )


main.add_command(credentials)
main.add_command(shards)
main.add_command(plan)
