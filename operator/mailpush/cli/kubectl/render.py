"""`kubectl mailpush render`: the property files that a MailPushConfig comes to, from a cluster or from a file.

Secrets are never printed: placeholders stand for them, and name the Secret and its key.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mailpush import names
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.cli.kubectl.manifests import Object, Trouble, config_spec, documents, name_of
from mailpush.decision import Problem, config_problems, config_warnings
from mailpush.decision.evaluation import wants_unregister
from mailpush.packages import PackageError
from mailpush.properties import secrets as references
from mailpush.properties.read import SettingsError, read
from mailpush.properties.render import RenderedConfig, render
from mailpush.properties.secrets import ResolvedSecrets, secret_references
from mailpush.properties.settings import Settings

DONE: Final = 0
TROUBLE: Final = 2
KIND: Final = "MailPushConfig"
# The hash of secrets is not shown, so any key will do.
_HASH_KEY: Final = b"rendered for a person"
# What a placeholder for certificates must look like, or the files could not be read back.
_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Rendered:
    """What is shown. `secret_files`: with placeholders, or as the cluster has them where that was asked for."""

    name: str
    config: RenderedConfig
    notes: tuple[str, ...]
    secret_files: Mapping[str, str] = field(repr=False)


def run(
    name: str | None,
    *,
    file: str | None,
    directory: str | None,
    with_secrets: bool,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> int:
    """The exit code: 0 where files were printed or written, 2 where that could not be done."""
    try:
        _check(name, file, directory, with_secrets)
        if file is not None:
            found = from_file(Path(file), name)
        else:
            found = _live(name or "", with_secrets, namespace=namespace, kubeconfig=kubeconfig, context=context)
        notes = found.notes
        if directory is not None:
            paths = write(found, Path(directory), with_secrets=with_secrets)
            notes += tuple(_left_over(Path(directory), paths))
            for path in paths:
                print(path)
        else:
            print(text(found), end="")
    except Trouble as trouble:
        sys.stderr.write(f"kubectl mailpush render: {trouble}\n")
        return TROUBLE
    except OSError as error:
        sys.stderr.write(f"kubectl mailpush render: {error.filename} cannot be written: {error.strerror}\n")
        return TROUBLE
    for note in notes:
        sys.stderr.write(f"note: {note}\n")
    return DONE


def _check(name: str | None, file: str | None, directory: str | None, with_secrets: bool) -> None:
    if name is None and file is None:
        raise Trouble("name a MailPushConfig of the cluster, or give a file with -f")
    if with_secrets and directory is None:
        raise Trouble("--with-secrets needs -o DIRECTORY: secrets are written to files, never printed")


def from_file(file: Path, name: str | None) -> Rendered:
    """From a manifest, without a cluster. `name` chooses where the file has several.

    Raises:
        Trouble: no MailPushConfig of this name, several without one, or one that cannot be read.
    """
    found = [document for document in documents(file) if document.get("kind") == KIND]
    known = [name_of(document) for document in found]
    if name is not None:
        found = [document for document, one in zip(found, known, strict=True) if one == name]
    if not found:
        wanted = f"{KIND} {name}" if name else KIND
        there = f"; it has {', '.join(known)}" if known else ""
        raise Trouble(f"{file} has no {wanted}{there}")
    if len(found) > 1:
        raise Trouble(f"{file} has several MailPushConfigs: name one of {', '.join(known)}")
    return rendered(found[0], of_file=True)


def rendered(document: Object, *, of_file: bool) -> Rendered:
    """A MailPushConfig with placeholders for its secrets.

    Raises:
        Trouble: what the API server would refuse.
    """
    spec, name = config_spec(document, of_file=of_file), name_of(document)
    try:
        config = render(spec, placeholders(spec, name), name, unregister=wants_unregister(document))
    except PackageError as error:
        raise Trouble(f"{KIND} {name}: {error}") from None
    return Rendered(name, config, tuple(_notes(spec, config)), config.secret_files)


def placeholders(spec: MailPushConfigSpec, name: str) -> ResolvedSecrets:
    """What stands where a secret would, by the path of the field."""
    places = {path: f"Secret {reference.name}, key {reference.key}" for path, reference in secret_references(spec)}
    if spec.callback.auth_secret_ref is None:
        made = names.callback_secret_name(name)
        places |= {
            references.CALLBACK_LOGIN: f"Secret {made}, key login",
            references.CALLBACK_PASSWORD: f"Secret {made}, key password",
        }
    if spec.credential_storage.generate_passcrypt:
        places[references.PASSCRYPT] = f"Secret {names.passcrypt_secret_name(name)}, key passcrypt"
    return ResolvedSecrets(_HASH_KEY, {path: f"<{place}>" for path, place in places.items()})


def _notes(spec: MailPushConfigSpec, config: RenderedConfig) -> list[str]:
    """What the status would say of it, as far as can be known without its Secrets."""
    # Certificates are checked as such, so the placeholders are left away.
    certificates = {file: _readable(text) for file, text in config.secret_files.items()}
    settings: Settings | None = None
    unreadable: list[Problem] = []
    try:
        settings = read({**config.directory, **certificates})
    except SettingsError as error:
        unreadable = [Problem("SettingsInvalid", problem) for problem in error.problems]
    found = [*config_problems(spec, settings), *unreadable, *config_warnings(spec, settings)]
    return [f"{problem.reason}: {problem.message}" for problem in found]


def _readable(text: str) -> str:
    return text.replace("<Secret", f"{_CERTIFICATE} <Secret")


def text(found: Rendered) -> str:
    """All files, one after the other, each under its name."""
    files = {**found.config.directory, **found.config.secret_files}
    return "\n".join(f"==> {name} <==\n{files[name]}" for name in sorted(files))


def write(found: Rendered, directory: Path, *, with_secrets: bool) -> list[Path]:
    """Writes the files and gives their paths. The one with secrets only where that was asked for; nobody else may read
    it."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in sorted({**found.config.files, **found.config.boot_files}.items()):
        (directory / name).write_text(content, encoding="ascii")
        paths.append(directory / name)
    if with_secrets:
        for name, content in found.secret_files.items():
            path = directory / name
            path.unlink(missing_ok=True)
            path.touch(mode=0o600, exist_ok=False)
            path.write_text(content, encoding="ascii")
            paths.append(path)
    return paths


def _left_over(directory: Path, paths: list[Path]) -> Iterator[str]:
    """What whoever reads the directory would read as well."""
    there = sorted(path.name for path in directory.glob("*.properties") if path not in paths)
    if there:
        yield f"{directory} also has {', '.join(there)}, not written now: take away what nobody needs"


def _live(
    name: str, with_secrets: bool, *, namespace: str | None, kubeconfig: str | None, context: str | None
) -> Rendered:
    from mailpush.cli.kubectl.installation import installation

    there = installation(name, with_secrets=with_secrets, namespace=namespace, kubeconfig=kubeconfig, context=context)
    found = rendered(there.document, of_file=False)
    notes = _differences(name, found.config.files, there.running) if there.readable else []
    secret_files = found.secret_files if there.secret_files is None else there.secret_files
    return Rendered(found.name, found.config, (*found.notes, *notes), secret_files)


def _differences(name: str, files: Mapping[str, str], running: Mapping[str, Any] | None) -> list[str]:
    """What the listeners have otherwise."""
    config_map = f"ConfigMap {names.properties_configmap_name(name)}"
    if running is None:
        return [f"there is no {config_map} yet: the operator has not rendered this MailPushConfig"]
    differing = sorted(file for file in {*files, *running} if files.get(file) != running.get(file))
    if not differing:
        return []
    return [f"the listeners run by another {', '.join(differing)} ({config_map}): see the conditions of {KIND} {name}"]
