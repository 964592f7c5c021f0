"""One target under libFuzzer (atheris): a process of its own, which ends with the time, or with what it found.

python -m tests.fuzz.search TARGET <libFuzzer's arguments>
"""

import sys

import atheris

with atheris.instrument_imports(include=["mailpush"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
