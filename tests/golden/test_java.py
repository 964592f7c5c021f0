"""The reader and the writer against `java.util.Properties` itself."""

import random

import pytest

from mailpush.properties.format import PropertiesError, dump, load
from tests.golden import jvm

pytestmark = pytest.mark.skipif(not jvm.available(), reason="no java here: install a JRE to compare with Java itself")

AWKWARD = " \t\f\r\n\\=:#!u0atnrf\u00e9\u2028\U0001f4ec"


def random_text(chance: random.Random) -> str:
    def character() -> str:
        if chance.random() < 0.7:
            return chance.choice(AWKWARD)
        return chr(chance.choice([chance.randrange(0x20, 0x7F), chance.randrange(0xD800), chance.randrange(0x110000)]))

    text = "".join(character() for _ in range(chance.randrange(16)))
    return text.encode("utf-8", "ignore").decode("utf-8")  # drops half surrogate pairs


def test_java_reads_back_what_is_written() -> None:
    chance = random.Random(3)
    maps = [{random_text(chance): random_text(chance) for _ in range(chance.randrange(6))} for _ in range(2000)]
    assert jvm.read([dump(properties, "header") for properties in maps]) == maps


def test_any_text_means_the_same_to_java() -> None:
    chance = random.Random(4)
    # The key behind each text keeps a lone backslash from being the file's last, which Java takes for an empty key.
    texts = [f"{random_text(chance)}{random_text(chance)}\n\nend" for _ in range(5000)]
    for text, properties in zip(texts, jvm.read(texts), strict=True):
        try:
            assert load(text) == properties, repr(text)
        except PropertiesError as error:
            if "surrogate" not in str(error):
                assert properties is None, repr(text)
