"""Client patterns by the rules of OX's allowedClients."""

from fnmatch import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.properties.format import dump
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.read import read

FACADE = "open-xchange-mobile-api-facade"


@pytest.mark.parametrize(
    ("text", "client", "allowed"),
    [
        # a literal matches the whole id only
        ("open-xchange-mailapp", "open-xchange-mailapp", True),
        ("open-xchange-mailapp", "open-xchange-mailapp2", False),
        ("open-xchange-mailapp", "my-open-xchange-mailapp", False),
        # case does not count, on either side
        ("usm-eas*", "USM-EAS-phone", True),
        ("USM-EAS*", "usm-eas", True),
        # a star is any run, also an empty one
        (f"{FACADE}*", FACADE, True),
        (f"{FACADE}*", f"{FACADE}-brand", True),
        (f"{FACADE}*", f"x{FACADE}", False),
        ("*facade", FACADE, True),
        ("*", "anything", True),
        ("open*api*", FACADE, True),
        ("open*apis*", FACADE, False),
        ("a**b", "ab", True),
        # overlap must not count twice: the tail is not part of what a star has taken
        ("ab*ba", "aba", False),
        ("ab*ba", "abba", True),
        ("*ab*ab", "ab", False),
        # a question mark is exactly one character
        ("client?", "client1", True),
        ("client?", "client", False),
        ("client?", "client12", False),
        ("cl?ent", "client", True),
        ("a?*", "a", False),
        ("a?*", "ab", True),
        # nothing else is special
        ("a.c", "abc", False),
        ("a.c", "a.c", True),
        ("a+(b)[c]|d$^\\", "a+(b)[c]|d$^\\", True),
        # comma list, blanks and one pair of quotes
        (f'"USM-EAS*", "USM-JSON*" ,{FACADE}', "usm-json", True),
        (f'"USM-EAS*", "USM-JSON*" ,{FACADE}', FACADE, True),
        ('""a""', '"a"', True),
        # as OX: a quote at the beginning goes even where none closes it, one at the end alone stays
        ('"a', "a", True),
        ('"a', '"a', False),
        ('a"', 'a"', True),
        ('a"', "a", False),
        ('"a, b"', "a", True),
        ('"a, b"', 'b"', True),
        ('"', '"', True),
        ('"', "anything", False),
        (",a, ,", "a", True),
        (",a, ,", "", False),
        # an empty list allows all
        ("", "anything", True),
        (" , ", "anything", True),
        # an empty pattern is one that nobody matches, so the list is not empty
        ('""', "anything", False),
        ('"",', "anything", False),
        ('"" , a', "a", True),
        (('""',), "anything", False),
        ('" "', "anything", False),
        # a no-break space is no blank to Java
        ("\u00a0", "anything", False),
        ("a\u00a0", "a\u00a0", True),
        ("a\u00a0", "a", False),
        ((), "anything", True),
        (("a*", "b"), "ab", True),
        (("a*", "b, c"), "c", True),
        (("a*", "b"), "c", False),
    ],
)
def test_a_client_is_allowed_as_ox_allows_it(text: str | tuple[str, ...], client: str, allowed: bool) -> None:
    assert ClientPatterns.parse(text).match(client) is allowed


def test_the_source_is_the_comma_list_and_reads_back_the_same() -> None:
    patterns = ClientPatterns.parse(' "USM-EAS*",open-xchange-mobile-api-facade* ')
    assert patterns.source == "USM-EAS*, open-xchange-mobile-api-facade*"
    assert ClientPatterns.parse(patterns.source) == patterns


@given(st.text('ab*?", \t\v\u00a0'))
def test_every_list_of_patterns_is_written_so_that_it_reads_back_the_same(text: str) -> None:
    patterns = ClientPatterns.parse(text)
    assert ClientPatterns.parse(patterns.source) == patterns


@given(st.lists(st.text(st.characters(exclude_characters=',"', exclude_categories=["Cs"]), min_size=1)))
def test_no_pattern_of_a_list_is_lost_in_the_property_file(items: list[str]) -> None:
    """Or a list that allows somebody would come to one that allows everybody."""
    patterns = ClientPatterns.parse(items)
    text = dump({"com.openexchange.push.allowedClients": patterns.source})
    assert read({"mail-push.properties": text}).allowed_clients == patterns


@given(st.text("ab?*", max_size=8), st.text("ab", max_size=8))
def test_every_pattern_agrees_with_shell_patterns(pattern: str, client: str) -> None:
    assert ClientPatterns.parse([pattern]).match(client) is (not pattern or fnmatch(client, pattern))


def test_many_wildcards_do_not_take_exponential_time() -> None:
    # 2**60 ways to place the wildcards: without atomic groups this would not end.
    hostile = "*a" * 30 + "*b"
    assert not ClientPatterns.parse([hostile]).match("a" * 4000)
