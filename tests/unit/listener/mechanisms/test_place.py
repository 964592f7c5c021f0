from hypothesis import given
from hypothesis import strategies as st

from mailpush.listener.mechanisms.place import MOST_AT_ONCE, Place

LOOKS = st.lists(
    st.tuples(st.integers(1, 2), st.integers(1, 2000), st.lists(st.integers(1, 2000), max_size=5)), max_size=20
)


def test_the_first_look_finds_the_place_and_owes_nothing() -> None:
    place = Place()
    assert place.advance(7, 100) == 0
    assert (place.next, place.owed) == (100, {})
    assert place.advance(7, 102) == 0
    assert place.owed == {100: 0, 101: 0}


def test_more_than_a_look_takes_is_passed_over_and_counted() -> None:
    place = Place(7, 1)
    assert place.advance(7, 1001) == 1000 - MOST_AT_ONCE
    assert place.advance(7, 1011) == 10, "what is still owed counts as well"
    assert sorted(place.owed) == list(range(1011 - MOST_AT_ONCE, 1011))


@given(LOOKS)
def test_no_uid_is_owed_twice_and_never_more_than_a_look_takes(looks: list[tuple[int, int, list[int]]]) -> None:
    place = Place()
    owed: set[tuple[int, int]] = set()
    for uidvalidity, uidnext, settled in looks:
        before = set(place.owed) if place.uidvalidity == uidvalidity else set()
        if place.uidvalidity != uidvalidity:
            owed = {pair for pair in owed if pair[0] != uidvalidity}
        place.advance(uidvalidity, uidnext)
        new = {(uidvalidity, uid) for uid in set(place.owed) - before}
        assert not new & owed
        owed |= new
        assert len(place.owed) <= MOST_AT_ONCE
        assert all(uid < place.next for uid in place.owed)
        for uid in settled:
            place.settle(uid)
