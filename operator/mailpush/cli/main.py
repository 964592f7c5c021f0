"""`mail-push`: the processes in the image, one sub-command each. Imports nothing before it is asked to run."""

import resource
import sys

import click

from mailpush import __version__

SERVICES = frozenset({"operator", "listener"})


def start() -> None:
    """The script `mail-push`; exits. What runs for long and logs has its streams as they are."""
    if SERVICES & set(sys.argv[1:2]):
        leave_no_core()
        main()
    from mailpush.cli.clicked import end

    end(main, "mail-push")


def leave_no_core() -> None:
    """A process that dies writes no core file: its memory holds passwords, and the passcrypt."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mail-push")
def main() -> None:
    """Permanent mail push listeners on Kubernetes."""


@main.command()
def operator() -> None:
    """Run the operator: reconcile MailPushConfigs, assign users to listener pods."""
    from mailpush.controller.main import run

    raise SystemExit(run())


@main.command()
def listener() -> None:
    """Run one listener pod."""
    from mailpush.listener.main import run

    raise SystemExit(run())


@main.command()
@click.option("-f", "--filename", required=True, type=click.Path(exists=True, dir_okay=False), help="A YAML file.")
@click.option("-n", "--namespace", required=True, help="Where to apply it.")
@click.option("--wait-seconds", default=120, show_default=True, help="How long to wait for the CRDs.")
@click.option("--autoscaled", is_flag=True, help="An autoscaler sets the number of pods: leave it as it is.")
def apply(filename: str, namespace: str, wait_seconds: int, autoscaled: bool) -> None:
    """Apply MailPushConfigs strictly, once their CRD is served. Used by the chart after install and upgrade."""
    from mailpush.cli.apply import run

    raise SystemExit(run(filename, namespace, wait_seconds, autoscaled=autoscaled))


@main.command()
@click.option("-n", "--namespace", required=True, help="Whose MailPushConfigs and PushUsers.")
@click.option("--wait-seconds", default=120, show_default=True, help="How long unregistering may take.")
@click.option("--yes", is_flag=True, help="The installation is being removed: do it without asking the cluster.")
@click.option("--release", default="", help="NAMESPACE/NAME of a Helm release: only what belongs to it.")
@click.option("--deployment", default="", help="NAMESPACE/NAME of its Deployment, which says whether it is removed.")
def cleanup(namespace: str, wait_seconds: int, yes: bool, release: str, deployment: str) -> None:
    """Unregister all users and remove finalizers, if the installation is being removed.

    Used by the chart before it is uninstalled, with --release and --deployment. By hand: --yes.
    """
    from mailpush.cli.cleanup import run
    from mailpush.cli.uninstalling import Release

    try:
        of = Release.parse(release, deployment)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if of is None and not yes:
        raise click.UsageError("say --yes if the installation is being removed")
    raise SystemExit(run(namespace, wait_seconds, of, sure=yes))


@main.command()
@click.option("-n", "--namespace", required=True, help="Whose MailPushConfigs.")
@click.option("--wait-seconds", default=60, show_default=True, help="How long they may take.")
def check(namespace: str, wait_seconds: int) -> None:
    """Say whether the MailPushConfigs are ready; exit 1 where one is not. Used by `helm test`."""
    from mailpush.cli.check import run

    raise SystemExit(run(namespace, wait_seconds))


@main.command()
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--check", is_flag=True, help="Write nothing; fail with a diff where the files differ.")
def crds(directory: str, check: bool) -> None:
    """Write the CustomResourceDefinitions."""
    from mailpush.cli.crds import run

    raise SystemExit(run(directory, check))
