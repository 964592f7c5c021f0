"""`java.util.Properties` itself as a reader, one start of the JVM for any number of files."""

import functools
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dev.programs import packages

# Debian's has the compiler's module as well, which starts the program from its source.
PACKAGE = "default-jre-headless"
PROGRAM = Path(__file__).with_name("ReadProperties.java")


def available() -> bool:
    """Whether a JVM that starts source files (Java 11 or newer) is there, or can be installed: on Debian, as root."""
    return shutil.which("java") is not None or (os.geteuid() == 0 and shutil.which("apt-get") is not None)


@functools.cache
def install() -> None:
    """Installs a JVM where there is none.

    Raises:
        DevError: that did not work.
    """
    if shutil.which("java") is None:
        packages.ensure(PACKAGE)


def read(texts: Sequence[str]) -> list[dict[str, str] | None]:
    """What Java makes of each text; None where it refuses a Unicode escape. Lone surrogates stay as they are."""
    install()
    encoded = [text.encode("utf-8") for text in texts]
    sent = struct.pack(">i", len(encoded)) + b"".join(struct.pack(">i", len(text)) + text for text in encoded)
    # Small heap and the fastest compiler only: this is about the class, not about speed.
    command = ["java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", str(PROGRAM)]
    received = subprocess.run(command, input=sent, capture_output=True, check=True, timeout=300).stdout
    position = 0

    def number() -> int:
        nonlocal position
        position += 4
        return int(struct.unpack_from(">i", received, position - 4)[0])

    def text() -> str:
        nonlocal position
        length = number()
        position += length
        return received[position - length : position].decode("utf-16-be", "surrogatepass")

    def properties() -> dict[str, str] | None:
        size = number()
        return None if size < 0 else {text(): text() for _ in range(size)}

    return [properties() for _ in texts]
