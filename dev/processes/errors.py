"""What dev/ raises; the command line prints the text alone, so each one ends with what to do."""


class DevError(Exception):
    """Something the machine or the user has to put right."""


class CommandError(DevError):
    """A program that failed: its name, exit code and the end of what it wrote."""

    def __init__(self, what: str, code: int, output: str, lines: int = 25) -> None:
        tail = "\n".join(output.strip().splitlines()[-lines:])
        super().__init__(f"{what} failed with exit code {code}:\n{tail}" if tail else f"{what} failed with {code}")
        self.code = code
        self.output = output
