"""Which changes of a map are told as Events."""

from mailpush.controller.events import Subject
from mailpush.controller.shards.news import AGAIN_SECONDS, MapNews
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.observed import Change
from mailpush.sharding.planning.planner import plan
from tests.unit.sharding.situations import A, B, C, fenced, make_map, pod, see

SUBJECT = Subject("MailPushConfig", "mail", "main", "uid")


def told(news: MapNews, *changes: Change, now: float = 0.0) -> list[tuple[str, str, str]]:
    return [(event.type, event.reason, event.note) for event in news.events(changes, now)]


def test_a_takeover_is_a_warning_with_who_takes_what() -> None:
    changes = plan(see(make_map("aabbcc"), pod(A), pod(B), fenced(C))).changes
    ((kind, reason, note),) = told(MapNews(SUBJECT), *changes)
    assert (kind, reason) == ("Warning", "SlotsTakenOver")
    assert note.startswith(f"{C.name} is gone: its slots go to {A.name} (1), {B.name} (1)")


def test_a_drain_is_told_once_however_many_maps_and_receivers_it_takes() -> None:
    seen = see(make_map("aabbcccccc"), pod(A), pod(B), pod(C, lease_draining=True))
    news, changes = MapNews(SUBJECT), plan(seen).changes
    assert len(changes) == 2, "one for each receiver"
    sentence = f"{C.name} is ending: its users move to other pods"
    assert told(news, *changes) == [("Normal", "PodDraining", sentence)]
    assert told(news, *changes, now=AGAIN_SECONDS - 1) == []
    assert told(news, *changes, now=2 * AGAIN_SECONDS - 2) == [], "it was heard of in between"
    assert told(news, *changes, now=4 * AGAIN_SECONDS) == [("Normal", "PodDraining", sentence)]


def test_another_reason_or_another_life_of_the_pod_is_news() -> None:
    news = MapNews(SUBJECT)
    first = Change("Leaving", "t", C, "is ending")
    assert told(news, first)
    assert told(news, Change("Leaving", "t", C, "is not capable (Off)"))
    assert told(news, Change("Leaving", "t", C._replace(uid="another"), "is ending"))
    assert not told(news, first)


def test_a_restored_map_is_told_when_it_begins_and_when_it_is_over() -> None:
    news = MapNews(SUBJECT)
    (begun,) = told(news, Change("MapRestored", "the map was deleted"))
    (over,) = told(news, Change("Restored", "every pod has applied it"))
    assert (begun[:2], over[:2]) == (("Warning", "ShardMapRestoring"), ("Normal", "ShardMapRestored"))


def test_what_moves_as_a_matter_of_course_makes_no_event() -> None:
    spread = plan(see(make_map("aaaaaa"), pod(A), pod(B), pod(C))).changes
    assert {change.reason for change in spread} == {"Rebalanced"}
    assert told(MapNews(SUBJECT), *spread, Change("Moved", "2 slots"), Change("FirstMap", "the first map")) == []


def test_a_pod_of_which_nothing_is_known_makes_no_event() -> None:
    quiet = plan(see(make_map("aabbcc"), pod(A), pod(B), pod(C, PodLife.UNCERTAIN)))
    assert told(MapNews(SUBJECT), *quiet.changes) == []
