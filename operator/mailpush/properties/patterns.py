"""Patterns of client ids, as in `com.openexchange.push.allowedClients`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from mailpush.properties.format import trimmed

_WILDCARD: Final = "*"
_ANY_CHARACTER: Final = "?"


@dataclass(frozen=True, slots=True)
class ClientPatterns:
    """A list of patterns that a client id may match.

    OX's rules: `*` stands for any run of characters, `?` for exactly one; A to Z are the same as a to z (Java folds no
    other letters unless told to); the whole id must match. An empty list allows every client; an empty pattern, which
    only quotes can write, is one that no id matches. (OX's own code takes a `?` at the end as a prefix test, and a `?`
    inside without a `*` literally; that is taken as a fault and not followed.)
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

        Each part is trimmed; one that is empty then is passed over. From the others a double quote at the beginning is
        taken off, and with it one at the end: `""` is an empty pattern, not an empty part.
        """
        parts = text.split(",") if isinstance(text, str) else (part for item in text for part in item.split(","))
        return cls(tuple(_unquoted(pattern) for part in parts if (pattern := trimmed(part))))

    @property
    def source(self) -> str:
        """The comma list as it stands in a property file. `parse` reads the same patterns from it."""
        return ", ".join(_quoted(pattern) for pattern in self.patterns)

    def match(self, client_id: str) -> bool:
        """Whether `client_id` matches one of the patterns; always true where there are none."""
        return self._regex is None or self._regex.fullmatch(client_id) is not None


def _unquoted(part: str) -> str:
    # As OX: a quote that nothing closes goes as well, one that stands alone or only at the end stays.
    return part[1:].removesuffix('"') if len(part) >= 2 and part[0] == '"' else part


def _quoted(pattern: str) -> str:
    """In quotes where it would not be read back as it is without."""
    bare = pattern and pattern == trimmed(pattern) and not pattern.startswith('"')
    return pattern if bare else f'"{pattern}"'


def _regex(pattern: str) -> str:
    first, *others = re.split(r"\*+", pattern)
    if not others:
        return _literal(first)
    # Atomic groups: a pattern with many wildcards must not take exponential time on a hostile client id.
    between = "".join(f"(?>.*?{_literal(piece)})" for piece in others[:-1])
    return f"{_literal(first)}{between}.*{_literal(others[-1])}"


def _literal(piece: str) -> str:
    return ".".join(re.escape(text) for text in piece.split(_ANY_CHARACTER))
