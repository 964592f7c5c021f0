"""What the runs under faults conclude from logs and notifications."""

import json
from typing import Any

from dev.chaos.faulttest import overlaps, said_again
from dev.chaos.rebalance import histogram
from dev.chaos.witness import Event, Spell, read_events, slot_of, slots_of, spells
from dev.demo.users import DemoUser


def line(at: str, event: str, slots: str) -> bytes:
    return f"{at} stderr F {json.dumps({'event': event, 'slots': slots})}".encode()


def test_a_log_is_read_as_the_container_runtime_keeps_it() -> None:
    log = [
        line("2026-11-27T01:00:00.250000000Z", "slots_begin", "0-2,7"),
        b'2026-11-27T01:00:00.3Z stderr F {"event": "slots_started"}',
        b"2026-11-27T01:00:00.3Z stderr P half a line with slots_begin",
        line("2026-11-27T01:00:01.000000000Z", "slots_end", "7"),
    ]
    first, second = read_events(log, "l-0", "uid/0")
    assert (first.begins, first.slots) == (True, frozenset({0, 1, 2, 7}))
    assert (second.begins, second.slots) == (False, frozenset({7}))
    assert second.at - first.at == 0.75
    assert list(slots_of("")) == []


def test_slots_are_as_the_protocol_says() -> None:
    assert slot_of(DemoUser("main", 3)) == 13507
    assert slot_of(DemoUser("main", 4)) == 6921


def test_who_listened_when() -> None:
    slot = frozenset({5})
    events = [
        Event(1.0, "l-0", "a/0", True, slot),
        Event(1.0, "l-1", "b/0", True, frozenset({6})),
        Event(4.0, "l-0", "a/0", False, slot),
        Event(4.5, "l-1", "b/0", True, slot),
        Event(9.0, "l-2", "c/0", True, slot),
    ]
    assert spells(events, 5) == [
        Spell("l-0", "a/0", 1.0, 4.0),
        Spell("l-1", "b/0", 4.5, None),
        Spell("l-2", "c/0", 9.0, None),
    ]


def told(id: str, sender: str, at: float) -> dict[str, Any]:
    return {"id": id, "from": sender, "arrived": at}


def test_two_senders_under_two_ids_overlap() -> None:
    assert overlaps([told("a", "x", 1), told("b", "y", 2)])
    assert not overlaps([told("a", "x", 1), told("a", "y", 2)])
    assert not overlaps([told("a", "x", 1), told("b", "x", 2)]), "that is doubled, and of one sender"


def test_a_pod_that_comes_back_says_nothing_again() -> None:
    away = [("x", 10.0)]
    assert said_again([told("a", "y", 5), told("a", "x", 11)], away)
    assert not said_again([told("a", "x", 11), told("a", "y", 12)], away)
    assert not said_again([told("a", "y", 5), told("a", "x", 9)], away)


def test_gaps_are_counted_by_length() -> None:
    assert histogram([0.01, 0.2, 0.2, 30.0]) == {"0.05": 1, "0.25": 2, "more": 1}
