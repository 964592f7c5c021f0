"""Each mail is told, and told once (protocol P13, P14, P17), whatever is paused, cut off, killed or moved meanwhile.

The project's own dispatcher, permission and claims run in simulated time; the world around them is world.py's.
"""

import time
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.sites.faults import Faults
from tests.unit.notifications.told_once.world import Pod, World

PICK = st.integers(0, 3)
MOST_PODS = 4
FAULTS = Faults()


class Mails(RuleBasedStateMachine):
    """Any order of events; told once after each of them, and told at all once the faults have ended."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.faults: set[str] = set()
        # Claims ask the machine's clock how long they last.
        self.clock = mock.patch.object(time, "clock_gettime", self._boottime)
        self.clock.start()

    # -- ordinary events

    @rule(seconds=st.sampled_from([0.005, 0.02, 0.5, 2.0, 6.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(mails=st.integers(1, 3))
    def mails_arrive(self, mails: int) -> None:
        for _ in range(mails):
            self.world.mail_arrives()

    @rule(grace=st.sampled_from([0.0, 0.1, 3.0]))
    def the_slot_moves(self, grace: float) -> None:
        self.world.move(grace)

    @rule(connect=st.sampled_from([0.0, 0.01, 2.0]), flight=st.sampled_from([0.0, 0.01, 2.0]))
    def the_target_is_fast_or_slow(self, connect: float, flight: float) -> None:
        self.world.connect, self.world.flight = connect, flight

    @rule(way=st.sampled_from([0.0, 0.001, 1.0]))
    def redis_is_fast_or_slow(self, way: float) -> None:
        self.world.redis_way = way

    @rule()
    def the_kubelet_starts_a_pod(self) -> None:
        if sum(not pod.dead for pod in self.world.pods) < MOST_PODS:
            self.world.start()

    # -- whole stories, which single steps in a random order would seldom tell

    @rule(
        how=st.sampled_from(["paused", "no_api", "no_redis"]),
        after=st.sampled_from([0.0, 0.005, 0.5, 1.5, 2.5]),
        seconds=st.sampled_from([1.0, 9.0, 18.0, 40.0]),
        way=st.sampled_from([0.001, 1.0]),
        connect=st.sampled_from([0.01, 2.0]),
    )
    def the_owner_is_away_while_it_tells(
        self, how: str, after: float, seconds: float, way: float, connect: float
    ) -> None:
        if (owner := self.world.owner) is None or not owner.acts:
            return
        self.world.redis_way, self.world.connect = way, connect
        self.world.mail_arrives()
        self.world.run(after)
        self.world.excuse([owner])
        setattr(owner, how, True)
        self.world.run(seconds)
        self.world.excuse([owner])
        setattr(owner, how, False)
        self.world.run(1.0)

    @rule(after=st.sampled_from([0.0, 0.005, 0.5, 1.5, 2.5]), grace=st.sampled_from([0.0, 0.1, 3.0]))
    def the_slot_moves_while_its_owner_tells(self, after: float, grace: float) -> None:
        self.world.redis_way = 1.0
        self.world.mail_arrives()
        self.world.run(after)
        self.world.move(grace)

    @rule(
        before=st.sampled_from([6.0, 11.0, 14.5]),
        api=st.booleans(),
        connect=st.sampled_from([0.01, 2.0]),
        after=st.sampled_from([0.5, 3.0, 30.0]),
    )
    def the_owner_goes_on_without_redis(self, before: float, api: bool, connect: float, after: float) -> None:
        """And gives its user away meanwhile, or loses him where it does not reach the API either."""
        if (owner := self.world.owner) is None or not owner.acts or self.faults:
            return
        self.world.connect = connect
        owner.no_redis, owner.no_api = True, not api
        self.world.run(before)
        self.world.mail_arrives()
        self.world.run(after)
        self.world.move(0.1)
        self.world.run(5.0)
        owner.no_redis = owner.no_api = False
        self.world.run(5.0)

    # -- faults

    @FAULTS.rule(pick=PICK)
    def a_pod_is_paused(self, pick: int) -> None:
        pod = self._pod(pick)
        self.world.excuse([pod])
        pod.paused = True

    @FAULTS.rule(pick=PICK)
    def a_pod_goes_on(self, pick: int) -> None:
        self._pod(pick).paused = False

    @FAULTS.rule(pick=PICK)
    def a_pod_is_killed(self, pick: int) -> None:
        pod = self._pod(pick)
        self.world.excuse([pod])
        pod.dead = True

    @FAULTS.rule(pick=PICK, cut=st.booleans())
    def a_pod_reaches_the_api_or_not(self, pick: int, cut: bool) -> None:
        self._pod(pick).no_api = cut

    @FAULTS.rule(pick=PICK, cut=st.booleans())
    def a_pod_reaches_redis_or_not(self, pick: int, cut: bool) -> None:
        pod = self._pod(pick)
        self.world.excuse([pod])
        pod.no_redis = cut

    @FAULTS.rule(up=st.booleans())
    def redis_goes_or_comes_back(self, up: bool) -> None:
        self.world.excuse(self.world.pods)
        self.world.redis_up = up

    @FAULTS.rule(fails=st.booleans())
    def the_target_fails_or_not(self, fails: bool) -> None:
        self.world.target_fails = fails

    # -- the start

    @initialize(pods=st.integers(2, 3), faults=st.sets(st.sampled_from(FAULTS), max_size=3))
    def begin(self, pods: int, faults: set[str]) -> None:
        self.faults = faults
        while len(self.world.pods) < pods:
            self.world.start()

    # -- promises

    @invariant()
    def nothing_is_told_twice(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            self.world.heal()
            # The longest pause between two tries is a minute, and a claim that nobody ended lasts 15 s.
            self.world.run(600, until=lambda: not self.world.untold())
            assert not self.world.untold(), f"mails {self.world.untold()} were never told"
        finally:
            self.world.end()
            self.clock.stop()

    def _boottime(self, clock: int) -> float:
        return self.world.now

    def _pod(self, pick: int) -> Pod:
        return self.world.pods[-1 - pick % min(len(self.world.pods), MOST_PODS)]


TestMails = Mails.TestCase
TestMails.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # A failure is printed as it was found. Shrinking it takes minutes: add Phase.shrink by hand for that.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
