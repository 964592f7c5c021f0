"""Golden cases: a MailPushConfig and, beside it, the files that it is rendered into."""

from pathlib import Path
from typing import Final, NamedTuple

import yaml

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.properties.render import RenderedConfig, render
from mailpush.properties.secrets import ResolvedSecrets, secret_references

FOLDER: Final = Path(__file__).parent
HASHES: Final = "hashes.txt"

# What every reference to a Secret resolves to here: readable, and with characters that a property file must escape.
PASSWORD: Final = " {path}: päss=wörd\\ #1!"
CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n"


class Case(NamedTuple):
    """One folder."""

    folder: Path
    name: str
    spec: MailPushConfigSpec

    @classmethod
    def of(cls, folder: Path) -> "Case":
        document = yaml.safe_load((folder / "mailpushconfig.yaml").read_text(encoding="utf-8"))
        return cls(folder, document["metadata"]["name"], MailPushConfigSpec.model_validate(document["spec"]))

    def secrets(self) -> ResolvedSecrets:
        values = {
            path: CERTIFICATE if path.endswith(("caSecretRef", "tls.crt]")) else PASSWORD.format(path=path)
            for path, _ in secret_references(self.spec)
        }
        return ResolvedSecrets(b"the key of the golden files", values)

    def rendered(self) -> RenderedConfig:
        return render(self.spec, self.secrets(), self.name)

    def expected(self) -> dict[str, str]:
        """The files that are there."""
        paths = [*self.folder.glob("*.properties"), *self.folder.glob(HASHES)]
        return {path.name: path.read_text(encoding="ascii") for path in paths}

    def actual(self) -> dict[str, str]:
        """The files that should be there."""
        config = self.rendered()
        hashes = f"config {config.config_hash}\nboot {config.boot_hash}\nsecrets {config.secrets_hash}\n"
        return {**config.directory, HASHES: hashes}

    def update(self) -> None:
        """Makes what is there what should be there."""
        for name in self.expected():
            (self.folder / name).unlink()
        for name, text in self.actual().items():
            (self.folder / name).write_text(text, encoding="ascii")


CASES: Final = [Case.of(path.parent) for path in sorted(FOLDER.glob("*/mailpushconfig.yaml"))]
