"""All that a run produces and anybody may read: kept here, so that the last scene can look for passwords in it."""

import base64
import os
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dev.cluster.controlplane import ControlPlane

SAMPLE_SECONDS: Final = 0.2
LEAST: Final = 8
"""Characters of a planted password: a shorter one would be found anywhere."""


class Evidence:
    """A folder of texts, each named after where it comes from, and the passwords that must be in none of them.

    Args:
        wanted: whether anybody is going to look; to collect all of it takes a good part of a core.
    """

    def __init__(self, folder: Path, plane: ControlPlane, *, wanted: bool = True) -> None:
        self.folder = folder
        self.wanted = wanted
        self._plane = plane
        self._planted: dict[str, str] = {}
        self._ended = threading.Event()

    def plant(self, what: str, password: str) -> str:
        """Remembers a password that is about to be used."""
        if len(password) < LEAST:
            raise ValueError(f"{what} is too short to be looked for")
        self._planted[password] = what
        return password

    @property
    def planted(self) -> int:
        return len(self._planted)

    def keep(self, name: str, content: str | bytes) -> None:
        """Adds a text."""
        path = self.folder / name.replace("/", "_")
        with path.open("ab") as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def keep_logs(self, prefix: str, folder: Path) -> None:
        for log in sorted(folder.glob("*.log")):
            self.keep(f"{prefix}-{log.name}", log.read_bytes())

    def keep_objects(self, namespace: str) -> None:
        """Each object of the namespace but the Secrets, whole, as somebody reads it who may read no Secret."""
        kinds = self._plane.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name", check=True).stdout
        for kind in kinds.split():
            if kind != "secrets":
                done = self._plane.kubectl("-n", namespace, "get", kind, "-o", "json", "--show-managed-fields")
                self.keep(f"{namespace}-objects-{kind}", done.stdout)

    def keep_metrics(self, name: str, url: str) -> None:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                self.keep(f"{name}-metrics", answer.read())
        except OSError:
            return  # of a pod that has just been killed

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks at the arguments of all processes of the machine again and again, if wanted."""
        if not self.wanted:
            yield
            return
        thread = threading.Thread(target=self._sample, name="arguments", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.end_watching()
            thread.join()

    def end_watching(self) -> None:
        self._ended.set()

    def _sample(self) -> None:
        seen: set[bytes] = set()
        while not self._ended.wait(SAMPLE_SECONDS):
            for entry in os.scandir("/proc"):
                if entry.name.isdigit():
                    try:
                        arguments = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ")
                    except OSError:
                        continue
                    if arguments not in seen:
                        seen.add(arguments)
                        self.keep("process-arguments", arguments + b"\n")

    def found(self) -> list[str]:
        """Where a planted password stands, in any of the forms in which a text is carried, in words without it."""
        return self.search({form: what for password, what in self._planted.items() for form in forms(password)})

    def search(self, wanted: dict[bytes, str]) -> list[str]:
        """Where each of these texts stands, by the words for it."""
        return [
            f"{what} in {path.name}"
            for path in sorted(self.folder.iterdir())
            for content in (path.read_bytes(),)
            for form, what in wanted.items()
            if form in content
        ]

    def size(self) -> int:
        """Bytes that are looked through."""
        return sum(path.stat().st_size for path in self.folder.iterdir())


def forms(password: str) -> set[bytes]:
    """The password as it is, quoted for a URL, in hexadecimal, and in base64 wherever in a longer text it begins."""
    raw = password.encode()
    carried = {raw, urllib.parse.quote(password, safe="").encode(), raw.hex().encode()}
    for offset in range(3):
        whole = b"\0" * offset + raw
        # A character of base64 carries 6 bits: only those that are of the password alone are always the same.
        alone = slice(-(-8 * offset // 6), 8 * len(whole) // 6)
        carried |= {base64.b64encode(whole)[alone], base64.urlsafe_b64encode(whole)[alone]}
    return carried
