"""Every mechanism there is, by the settings."""

from collections.abc import Mapping

from mailpush.api.catchup import CatchUp
from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.credentials.current_tokens import CurrentTokens
from mailpush.doveadm.access import access_of
from mailpush.doveadm.current import CurrentDoveadm
from mailpush.listener.catchup.checkpoints import NoProgress, Progress
from mailpush.listener.mechanisms.base import Mechanism
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.dovecot import DovecotMechanism
from mailpush.listener.mechanisms.imapidle import ImapIdleMechanism
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.properties.settings import Settings


class MechanismRegistry:
    """Every mechanism there is. One whose settings have not changed stays the same object, and so do its listeners."""

    def __init__(
        self,
        progress: Progress | None = None,
        budget: ConnectBudget | None = None,
        tokens: CurrentTokens | None = None,
        doveadm: CurrentDoveadm | None = None,
    ) -> None:
        self._tokens = tokens or CurrentTokens()
        self._doveadm = doveadm or CurrentDoveadm()
        self._catch_up = CatchUp()
        self._around = Surroundings(
            budget or ConnectBudget(),
            progress or NoProgress(),
            catch_up=lambda: self._catch_up,
            tokens=self._tokens,
            doveadm=self._doveadm,
        )
        self._dovecot = DovecotMechanism(self._around)
        self._imapidle: ImapIdleMechanism | None = None
        self._imapidle_settings: ImapIdleSettings | None = None

    def by(self, settings: Settings) -> Mapping[str, Mechanism]:
        """By name, those that are switched off too: the decision says which are used."""
        self._catch_up = settings.catch_up
        self._tokens.use(settings.mail.oauth if settings.mail is not None else None)
        self._doveadm.use(access_of(settings))
        if self._imapidle is None or self._imapidle_settings != settings.imapidle:
            self._imapidle = ImapIdleMechanism(self._around, settings.imapidle)
            self._imapidle_settings = settings.imapidle
        mechanisms: tuple[Mechanism, ...] = (self._dovecot, self._imapidle)
        return {mechanism.name: mechanism for mechanism in mechanisms}
