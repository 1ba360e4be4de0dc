"""The applications under observation: those of the settings, and others while there is room.

What comes in: names, from settings and from messages. What goes out: for each an `Application`, and its
policy where the settings name it. Memory is bounded: a share of the kept reports for each, a limit on
unknown ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upswell.analysis.application import Application
from upswell.analysis.billing import Billing
from upswell.events import get_logger
from upswell.messages import check_app_id
from upswell.policies.registry import bare_policy, guarded
from upswell.policies.slo.slo import SloPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from upswell.analysis.billing import Bill
    from upswell.policies.protocol import ScalingPolicy
    from upswell.settings import Settings

_log = get_logger()

REPORTS_KEPT = 500_000
"""Reports kept for percentiles, of all applications: 16 MB. One keeps 200 to 10,000 of them."""
_FEWEST, _MOST = 200, 10_000

UNKNOWN_LIMIT = 1000
"""Applications observed outside the settings: their names come from messages, which are hostile."""
_IDLE_WINDOWS = 10


class Watched:
    """One application, its policy (None: not in the settings, never scaled), its bill, its last decision.

    `family` is what the policy is without its wrappers, where it can be rehearsed.
    """

    def __init__(
        self,
        seen: Application,
        policy: ScalingPolicy | None,
        own: Settings,
        bill: Bill | None,
        family: SloPolicy | None = None,
    ) -> None:
        self.seen = seen
        self.policy = policy
        self.settings = own
        self.ledger = Billing(bill)
        self.family = family
        self.reason = ""
        """Why the number is what it is: the sentence of the decision that changed it."""
        self.policy_fails = False
        self.standby: int | None = None
        """Workers on standby, as decided last; None where no decision chose their number."""


class Applications:
    """All applications under observation.

    Args:
        settings: `apps` are scaled.
        started_at: when the observation began.
        bills: what each cost before, as the journal recorded it.

    Raises:
        SettingsError: an application's own settings break a rule, or name a policy that there is not.
    """

    def __init__(
        self, settings: Settings, started_at: float, bills: Mapping[str, Bill] | None = None
    ) -> None:
        self._settings = settings
        self._bills = bills or {}
        self._watched: dict[str, Watched] = {}
        self._refused = False
        self._known = 0
        self.reload(settings, started_at)

    def begin(self, now: float, bills: Mapping[str, Bill]) -> None:
        """Begin all windows now, and go on from these bills: another monitor led until now."""
        self._bills = bills
        for app_id, watched in self._watched.items():
            watched.seen.begin(now)
            watched.ledger = Billing(bills.get(app_id), watched.seen.totals)

    def reload(self, settings: Settings, now: float) -> set[str]:
        """Go on with other settings; return the applications whose policy is another from now on.

        What was observed of an application stays, unless its status interval changed; for a window some of it
        was counted against the previous objective. One that the settings no longer name is observed only.

        Raises:
            SettingsError: as for `Applications`; then nothing has changed.
        """
        fresh: dict[str, Watched] = {}
        for app_id in settings.apps:
            own, before = settings.for_app(app_id), self._watched.get(app_id)
            same = before is not None and before.policy is not None and _decides_alike(before.settings, own)
            fresh[app_id] = before if before is not None and same else self._renewed(app_id, own, before, now)
        renewed = {app_id for app_id, watched in fresh.items() if self._watched.get(app_id) is not watched}
        for app_id, before in self._watched.items():
            if app_id not in fresh:
                unscaled = Watched(before.seen, None, settings, None)
                unscaled.ledger = before.ledger
                fresh[app_id] = unscaled
                renewed.add(app_id)
        for app_id in settings.apps:
            own = fresh[app_id].settings
            fresh[app_id].seen.expect(own.objective, own.initial_slots)
        self._settings, self._watched, self._known = settings, fresh, len(settings.apps)
        return renewed

    def _renewed(self, app_id: str, own: Settings, before: Watched | None, now: float) -> Watched:
        policy = bare_policy(own)
        as_before = before is not None and before.settings.status_interval == own.status_interval
        seen = before.seen if before is not None and as_before else self._application(app_id, own, now)
        family = policy if isinstance(policy, SloPolicy) else None
        watched = Watched(seen, guarded(policy, own), own, self._bills.get(app_id), family)
        if before is not None:
            watched.ledger = before.ledger
            if not as_before:
                watched.ledger.observe_anew()
        return watched

    def __iter__(self) -> Iterator[tuple[str, Watched]]:
        """Give (name, application) of each."""
        return iter(self._watched.items())

    def __len__(self) -> int:
        return len(self._watched)

    def get(self, app_id: str, now: float) -> Application | None:
        """Return an application that a message names; None where there are too many unknown ones already.

        Raises:
            MessageError: it is unknown and its name breaks the rule of names.
        """
        watched = self._watched.get(app_id)
        if watched is not None:
            return watched.seen
        check_app_id(app_id)
        if len(self._watched) - self._known >= UNKNOWN_LIMIT:
            if not self._refused:
                self._refused = True
                _log.warning("monitor.application_refused", app=app_id, limit=UNKNOWN_LIMIT)
            return None
        _log.warning("monitor.application_unknown", app=app_id)
        watched = Watched(
            self._application(app_id, self._settings, now), None, self._settings, self._bills.get(app_id)
        )
        self._watched[app_id] = watched
        return watched.seen

    def tidy(self, now: float) -> None:
        """Forget unknown applications that fell silent, and share out the reports kept."""
        silent_since = now - _IDLE_WINDOWS * self._settings.window
        gone = [
            app_id
            for app_id, watched in self._watched.items()
            if watched.policy is None and watched.seen.heard_at < silent_since
        ]
        for app_id in gone:
            del self._watched[app_id]
            self._refused = False
        capacity = self._capacity()
        for watched in self._watched.values():
            watched.seen.window.capacity = capacity

    def _capacity(self) -> int:
        return min(_MOST, max(_FEWEST, REPORTS_KEPT // max(1, len(self._watched))))

    def _application(self, app_id: str, own: Settings, now: float) -> Application:
        return Application(
            app_id,
            slo=own.objective,
            window=own.window,
            slots=own.initial_slots,
            status_interval=own.status_interval,
            capacity=self._capacity(),
            started_at=now,
        )


def _decides_alike(old: Settings, new: Settings) -> bool:
    """Return whether an application's policy and guards are the same under both, rules file excepted."""
    if new.rules_file:  # its text may have changed
        return False
    return msgspec.structs.replace(old, apps={}) == msgspec.structs.replace(new, apps={})
