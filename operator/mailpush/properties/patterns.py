"""Patterns of client ids, as in `com.openexchange.push.allowedClients`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

_WILDCARD: Final = "*"
_ANY_CHARACTER: Final = "?"


@dataclass(frozen=True, slots=True)
class ClientPatterns:
    """A list of patterns that a client id may match.

    OX's rules: `*` stands for any run of characters, `?` for exactly one; A to Z are the same as a to z (Java folds no
    other letters unless told to); the whole id must match. An empty list allows every client. (OX's own code takes a
    `?` at the end as a prefix test, and a `?` inside without a `*` literally; that is taken as a fault and not
    followed.)
    """

    patterns: tuple[str, ...] = ()
    _regex: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        alternatives = "|".join(f"(?:{_regex(pattern)})" for pattern in self.patterns)
        compiled = re.compile(alternatives, re.IGNORECASE | re.ASCII | re.DOTALL) if self.patterns else None
        object.__setattr__(self, "_regex", compiled)

    @classmethod
    def parse(cls, text: str | Iterable[str]) -> Self:
        """Patterns from the property's comma list, or from list items that are read by the same rules.

        Each part is trimmed, and one pair of double quotes around it is taken off. Empty parts are passed over.
        """
        parts = text.split(",") if isinstance(text, str) else (part for item in text for part in item.split(","))
        return cls(tuple(pattern for part in parts if (pattern := _unquoted(part.strip()))))

    @property
    def source(self) -> str:
        """The comma list as it stands in a property file."""
        return ", ".join(self.patterns)

    def match(self, client_id: str) -> bool:
        """Whether `client_id` matches one of the patterns; always true where there are none."""
        return self._regex is None or self._regex.fullmatch(client_id) is not None


def _unquoted(part: str) -> str:
    return part[1:-1] if len(part) >= 2 and part[0] == part[-1] == '"' else part


def _regex(pattern: str) -> str:
    first, *others = re.split(r"\*+", pattern)
    if not others:
        return _literal(first)
    # Atomic groups: a pattern with many wildcards must not take exponential time on a hostile client id.
    between = "".join(f"(?>.*?{_literal(piece)})" for piece in others[:-1])
    return f"{_literal(first)}{between}.*{_literal(others[-1])}"


def _literal(piece: str) -> str:
    return ".".join(re.escape(text) for text in piece.split(_ANY_CHARACTER))
