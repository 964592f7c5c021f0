"""Properties by name, each checked as it is taken; problems are collected, so that one look shows them all."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from mailpush.properties.format import PropertiesError, load, trimmed
from mailpush.properties.keys import BY_PROPERTY, SECRETS_FILE, file_of

T = TypeVar("T")

_BOOLEANS: Final = {"true": True, "false": False}


class SettingsError(ValueError):
    """Property files that cannot be run by. `problems` has one sentence for each; none has a secret's value."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class Lookup:
    """All properties of a directory. A value that cannot be taken is noted and the default is given instead."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._values: dict[str, tuple[str, str]] = {}
        self._problems: list[str] = []
        names = (name for name in files if name.endswith(".properties"))
        for name in sorted(names, key=lambda name: (name == SECRETS_FILE, name)):
            try:
                properties = load(files[name])
            except PropertiesError as error:
                self.problem(f"{name}: {error}")
                continue
            self._values.update({key: (value, name) for key, value in properties.items()})

    def problem(self, sentence: str) -> None:
        """Notes what cannot be run by."""
        if sentence not in self._problems:
            self._problems.append(sentence)

    def raise_problems(self) -> None:
        """Raises SettingsError where something was noted."""
        if self._problems:
            raise SettingsError(self._problems)

    def secret(self, key: str) -> str | None:
        """The value as it is, blanks included."""
        value, _ = self._values.get(key, (None, ""))
        return value

    def as_given(self, key: str) -> str | None:
        """What a field says, blanks included; of what stands in `properties` they are taken off, as OX does."""
        return self.text(key) if key in self.names(BY_PROPERTY) else self.secret(key)

    def text(self, key: str) -> str | None:
        """The value without blanks around it, as Java trims."""
        value = self.secret(key)
        return None if value is None else trimmed(value)

    def required(self, key: str) -> str:
        """The value, which must be there and not empty."""
        value = self.text(key)
        if not value:
            _, file = self._values.get(key, ("", file_of(key)))
            self.problem(f"{file}: {key} is missing")
        return value or ""

    def boolean(self, key: str, default: bool) -> bool:
        """`true` or `false`, in any case."""
        return self._one_of(key, _BOOLEANS, default, folded=True)

    def choice(self, key: str, default: str, allowed: Sequence[str]) -> str:
        """One of `allowed`."""
        return self._one_of(key, {word: word for word in allowed}, default)

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        """A decimal number from `least` to `most`."""
        value = self.text(key)
        if not value:
            return default
        if not re.fullmatch("[0-9]{1,18}", value) or not least <= int(value) <= most:
            self._refuse(key, f"a number from {least} to {most}")
            return default
        return int(value)

    def names(self, key: str, default: Sequence[str] = (), allowed: Sequence[str] | None = None) -> tuple[str, ...]:
        """A comma list of different names."""
        value = self.text(key)
        if value is None:
            return tuple(default)
        names = tuple(dict.fromkeys(name for part in value.split(",") if (name := trimmed(part))))
        if allowed is not None and not set(names) <= set(allowed):
            self._refuse(key, f"a comma list of {', '.join(allowed)}")
            return tuple(default)
        return names

    def url(self, key: str, schemes: Sequence[str]) -> str | None:
        """A URL without credentials in it; None where there is none."""
        value = self.text(key)
        if not value:
            return None
        if "@" in value:
            # Not shown: what stands before the @ is a password.
            self._refuse(key, "a URL without user and password", show=False)
        elif not re.fullmatch(rf"(?:{'|'.join(map(re.escape, schemes))})://[^\s\x00-\x1f\x7f]+", value):
            begin = " or ".join(f"{scheme}://" for scheme in schemes)
            self._refuse(key, f"a URL that begins with {begin}, without blanks and control characters")
        return value

    def certificates(self, key: str) -> str | None:
        """PEM certificates; None where there are none."""
        value = self.text(key)
        if value and "-----BEGIN CERTIFICATE-----" not in value:
            self._refuse(key, "one or more PEM certificates", show=False)
        return value or None

    def _one_of(self, key: str, allowed: Mapping[str, T], default: T, folded: bool = False) -> T:
        value = self.text(key)
        if not value:
            return default
        word = value.lower() if folded else value
        if word not in allowed:
            self._refuse(key, " or ".join(allowed))
        return allowed.get(word, default)

    def _refuse(self, key: str, allowed: str, show: bool = True) -> None:
        value, file = self._values[key]
        shown = f'is "{value.strip()}"' if show and file != SECRETS_FILE else "cannot be taken"
        self.problem(f"{file}: {key} {shown}; allowed is {allowed}")
