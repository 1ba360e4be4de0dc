"""Log events: a fixed name and its numbers, never prose.

`EVENTS` lists every event, and `docs/log-events.md` is generated from it; a test keeps code, table and page
equal. Credentials in URLs are masked in every value of every event.

A command sends its events to standard error (`configure`). In a program that only imports Upswell they go to
the logger `upswell` of the standard library.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, MutableMapping

# structlog imports rich when it is installed: 160 ms that a worker need not spend. Hide it meanwhile.
_rich_is_hidden = "rich" not in sys.modules
if _rich_is_hidden:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402 - only now

from upswell.safe import safe  # noqa: E402 - as above

if _rich_is_hidden:
    del sys.modules["rich"]

EVENTS: dict[str, str] = {
    "broker.blocked": "RabbitMQ is out of memory or disk space and accepts no messages; they are held back.",
    "broker.channel_closed": "RabbitMQ closed the consumers' channel, for the given reason; they resume on a new one.",
    "broker.connect_failed": "RabbitMQ cannot be reached; the next attempt is in again_in seconds.",
    "broker.connect_refused": "RabbitMQ now refuses the credentials; the next attempt is in again_in seconds.",
    "broker.connected": "Connected to RabbitMQ at the given attempt; queues and consumers are restored.",
    "broker.connection_died": "A process using the embedded broker died or hung; its messages are requeued, and each counts as an attempt.",
    "broker.connection_lost": "The connection to RabbitMQ was lost. It is reconnecting, and nothing unconfirmed is lost.",
    "broker.consume_failed": "A queue cannot be consumed again yet; the next attempt is in again_in seconds.",
    "broker.consumer_cancelled": "RabbitMQ cancelled a consumer (queue deleted, leader moved); it is started again.",
    "broker.consumer_restored": "A consumed queue was deleted; it is declared and consumed again.",
    "broker.dead_lettered": "The embedded broker moved a message past its delivery limit to the dead-letter queue (none: the message is discarded).",
    "broker.declare_failed": "A queue could not be declared: no permission, or one of that name cannot do the job.",
    "broker.disk_refuses": "The embedded broker's disk is full or failing; unconfirmed messages are kept and written again later.",
    "broker.disk_takes_again": "The embedded broker's disk works again; pending messages are written. failures counts the failed writes.",
    "broker.failed": "The embedded broker's file is unusable; pending publishes fail.",
    "broker.held_up": "Another process has held the embedded broker's lock for over 5 s, usually because it is stopped (SIGSTOP); holder names it, and nobody can write until it goes on.",
    "broker.publish_nacked": "RabbitMQ could not accept messages (queue full, no leader); they are sent again in again_in seconds.",
    "broker.publish_refused": "RabbitMQ closed the publishing channel over a message it never accepts; that publish fails, the others are sent again.",
    "broker.queue_differs": "An existing queue has other arguments than requested; it is used unchanged.",
    "broker.queue_lost": "After a reconnect, another connection owned the name of an exclusive queue.",
    "broker.reconnected": "The connection to the broker is back, with its queues and consumers.",
    "broker.unblocked": "RabbitMQ accepts messages again; those held back are sent.",
    "client.inquiry_failed": "A client could not ask what became of uploads whose reply did not come; it asks again.",
    "client.record_failed": "A client with record=True could not note on this machine what it sent; it notes nothing more. The uploads go on.",
    "dashboard.acted": "Somebody with the token drained a worker, or retried or purged dead uploads, on the dashboard.",
    "dashboard.broker_away": "The dashboard cannot reach the broker; it shows the journal and tries again.",
    "dashboard.failed": "The dashboard could not make what a page shows; it tries again every second.",
    "dashboard.started": "The dashboard is served under the URL.",
    "decision.made": "The monitor decided, with the reason; a decision that changes nothing is logged at level debug.",
    "keda.asked_for_unknown": "KEDA asks for an application that is not in the settings: it gets an error, and changes nothing.",
    "keda.certificate_unreadable": "The files of keda_tls_certificate, keda_tls_key or keda_tls_client_ca cannot be read at a new connection: the last ones stay in use.",
    "keda.number": "The number that KEDA sees of an application changed; wanted is where it goes, workers how many are heard. It falls as workers that are too many become idle.",
    "keda.round_failed": "A round of upswell keda failed unexpectedly; the next one runs as usual.",
    "keda.signals_back": "KEDA gets an application's number again.",
    "keda.signals_lost": "What an application's number depends on is not known: KEDA gets an error, not a zero, and changes nothing.",
    "keda.started": "KEDA's external scaler listens, at that address; tls is whether it speaks TLS.",
    "keda.worker_told": "A worker was sent a command: activate, or standby before its pod may go.",
    "leadership.failed": "This candidate cannot ask the broker for the leadership; it tries again.",
    "leadership.gained": "Of the candidates for a role this one leads from now on.",
    "leadership.leader_hangs": "The leader of a role has taken nothing for more than its term: it is stopped or cut off. The others elect another.",
    "leadership.lost": "This one leads no more: it resigned, lost the broker, or could not prove in time that it leads.",
    "metrics.not_served": "A worker does not serve metrics, for the given reason (another worker has the address, or the extra is missing); it works without.",
    "metrics.serving": "Metrics, health and readiness are served at this address.",
    "monitor.application_refused": "Too many applications outside the settings; further ones are ignored.",
    "monitor.application_unknown": "An application outside the settings is observed but never scaled.",
    "monitor.bottleneck_found": "Measurements show that more workers bring no more throughput, or every attempt fails: the application (or that many applications) gets no more workers for now. failures are the newest reasons, counted.",
    "monitor.bottleneck_gone": "More workers bring more throughput again, or uploads succeed again, after that many seconds.",
    "monitor.by_hand": "An operator set an application's workers by hand (0: paused), until an instant or until resumed.",
    "monitor.by_hand_over": "What was set by hand is over, or was taken back: the policy decides again.",
    "monitor.depth_unknown": "A queue's depth cannot be read; the last known depth is used until it is stale.",
    "monitor.journal_failed": "A round, or at the end several, could not be written to the journal; the next one is tried again.",
    "monitor.message_refused": "Invalid reports or statuses arrived, count of them; see {report_queue}.dead.",
    "monitor.by_hand_not_kept": "What operators set by hand cannot be read or kept on disk: it may be lost when another monitor takes over.",
    "monitor.epoch_raised": "This monitor heard an epoch like its own or greater, of an earlier leader or forged, and took a greater one.",
    "monitor.minimums_kept_again": "max_workers_total covers all min_workers again.",
    "monitor.minimums_not_kept": "max_workers_total is below the sum of all min_workers: workers go where they help most.",
    "monitor.observer_failed": "The live view raised an error; decisions continue.",
    "monitor.policy_failed": "A policy raises errors: its application (or that many applications) holds, the others continue.",
    "monitor.policy_raised": "The error that a policy raised, with its traceback; logged for the first of consecutive errors only.",
    "monitor.policy_works": "A policy that raised errors decides again, after that many seconds.",
    "monitor.fleet_full": "An alarm: the platform refuses workers that an application (or that many) wants, the reason says why.",
    "monitor.fleet_has_room": "The platform takes the workers that are wanted again, or fewer are wanted.",
    "monitor.refused_report_lost": "An invalid report could not be moved to {report_queue}.dead.",
    "monitor.round_failed": "A round of decisions failed; the next one runs as usual.",
    "monitor.signals_back": "Lost signals are back after that many seconds; no worker is drained for one full window.",
    "monitor.signals_lost": "An application (or that many applications) lost signals it had: its workers stay as they are.",
    "monitor.started": "The monitor leads: it takes reports and decides, under that epoch.",
    "monitor.stopped": "The monitor has stopped; reports is how many it received.",
    "monitor.waiting": "Another monitor leads; this one listens and waits to take over.",
    "rehearsal.chosen": "A slo policy switches to another tuning; with what the new and the previous one would have attained and cost.",
    "rehearsal.failed": "An application's rehearsal raised an error; its policy keeps its tuning, the other rehearsals continue.",
    "rehearsal.not_kept": "Chosen tunings cannot be read or written in the state folder; a monitor that restarts rehearses again.",
    "rehearsal.past_unknown": "The journal's past cannot be read; rehearsal starts from now.",
    "scaler.action_failed": "The fleet failed to carry out an action for an application; the next round tries again.",
    "scaler.bad_message": "An unreadable scale request or status was dropped.",
    "scaler.by_hand_not_kept": "What was set by hand cannot be written to disk: it holds, and would be lost if the scaler restarted without a monitor.",
    "scaler.clock_jumped": "The clock was set, or the scaler was suspended: its timeouts start again.",
    "scaler.crash_loop": "New workers of an application keep crashing: the next one is started after retry_in seconds.",
    "scaler.crash_loop_over": "A new worker of an application keeps running: its crash loop is over.",
    "scaler.down": "All workers have drained as an operator ordered; the scaler ends.",
    "scaler.fleet_full": "The platform takes no more workers of an application than run now (a quota, an admission rule): no crash, it is asked again every 30 s. Logged again only with another number.",
    "scaler.fleet_has_room": "The platform takes workers of an application again.",
    "scaler.fleet_reachable": "The running workers can be listed again, after that many seconds.",
    "scaler.fleet_unreachable": "The running workers cannot be listed; nothing is started or stopped until they can. Logged again only with another reason.",
    "scaler.request_from_future": "A scale request claims to be from the future: it is forged, or its monitor's clock is wrong. Any other request outranks it.",
    "scaler.restart": "An operator ordered an application's workers replaced by new ones.",
    "scaler.round_failed": "A round of the scaler failed unexpectedly; the next one runs as usual.",
    "scaler.start_failed": "A worker could not be started; the next attempt is in retry_in seconds.",
    "scaler.started": "The scaler is listening.",
    "scaler.unknown_app": "A scale request named an application that is not in the settings: nothing is started for it.",
    "scaler.waiting": "Another scaler leads; this one listens and waits to take over.",
    "scaler.target": "The target number of workers of an application changed; found is how many there were.",
    "scaler.worker_crashed": "A worker exited unasked; with its exit code and its last lines of output, which the monitor's journal keeps, too.",
    "scaler.worker_gone": "A worker had exited before this scaler started.",
    "scaler.worker_evicted": "The platform or its operator ended a worker (eviction, a drained or lost node): no crash, it is replaced at once.",
    "scaler.worker_left": "A worker has drained and exited.",
    "scaler.worker_pending": "The platform has a worker that cannot run yet, and why; it counts as starting. Logged once for each reason.",
    "scaler.worker_silent": "A running worker sends no status: it is stopped and replaced.",
    "scaler.worker_started": "A worker was started.",
    "scaler.worker_told": "A worker was sent a command: activate, standby or drain (terminate: drain by SIGTERM).",
    "settings.reload_failed": "SIGHUP: the settings cannot be read or are invalid; the previous ones stay in use.",
    "settings.reloaded": "SIGHUP: the settings were read again. Those in needs_restart keep their value until a restart.",
    "store.leftovers_unknown": "The store did not list the unfinished multipart uploads of a key; a lifecycle rule must remove them.",
    "store.waits_for_turn": "Another worker uploads a large object under the same key; this upload waits until it is there.",
    "store.parts_removed": "Unfinished multipart uploads of a key, left by an earlier attempt, were aborted.",
    "store.folder_reopened": "The destination's folder was made anew or mounted again, and is used from now on.",
    "store.leftover_removed": "An unfinished object left by a killed worker was deleted.",
    "traces.lost": "Spans could not be sent to the collector, for the given reason; uploads go on. Said once a minute at most.",
    "webhook.dropped": "So many notices wait for the webhook's server that the oldest was dropped.",
    "webhook.failed": "A notice was given up after that many attempts; the error says why.",
    "worker.command_ignored": "A worker ignored a command that was unreadable, late, or sent after its drain began.",
    "worker.drain_overdue": "A draining worker reached drain_timeout with busy unfinished uploads: it stops and requeues them.",
    "worker.handlers_left": "A worker exited while handlers that cannot be stopped were still running; their uploads are requeued.",
    "worker.loop_blocked": "The worker's event loop was blocked for that many seconds: an async handler blocks (make it a plain function), or the machine is overloaded.",
    "worker.publish_refused": "The broker refused a report or a dead letter; the worker declares the queue and publishes again.",
    "worker.settings_kept": "SIGHUP: a worker keeps its settings until it is restarted.",
    "worker.slots": "A worker with automatic slots changed their number.",
    "worker.started": "A worker is connected and its queues are declared.",
    "worker.state": "A worker changed its state: standby, ready (consuming), draining or stopped.",
    "worker.stopped": "A worker has disconnected; stored, failed and dead count its attempts.",
    "worker.upload_dead": "An upload went to the dead-letter queue, for the given reason.",
    "worker.upload_failed": "An upload attempt failed; the next one starts after retry_seconds.",
    "worker.upload_overdue": "An upload reached upload_timeout and is being stopped; a thread keeps its slot until it ends.",
    "worker.uploads_released": "A worker had to exit immediately and requeued its unfinished uploads.",
}
"""Event name -> what it means, in one sentence."""


TRACE_IDS: ContextVar[dict[str, str] | None] = ContextVar("TRACE_IDS", default=None)
"""`trace_id` and `span_id` of the upload that a task works on, added to each of its events."""

_chain: list[Any] = []
"""What every event passes through; changed in place, because each logger holds this very list."""

_wanted: list[Callable[[int], bool]] = []
"""One function: whether events of a level are sent on; changed in place with the chain."""


class _Bound(structlog.make_filtering_bound_logger(logging.NOTSET)):
    """A logger whose `is_enabled_for` knows where events go now: structlog's is fixed with the class."""

    def is_enabled_for(self, level: int) -> bool:
        """Return whether an event of this level is sent on; what it says need not be made otherwise."""
        return _wanted[0](level)


_LEVELS = {**logging.getLevelNamesMapping(), "EXCEPTION": logging.ERROR}


def _drop_unwanted(_logger: Any, method: str, event: Any) -> Any:
    if not _wanted[0](_LEVELS[method.upper()]):
        raise structlog.DropEvent
    return event


def _add_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    found = TRACE_IDS.get()
    return event if found is None else {**found, **event}


def _plain_exceptions(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, BaseException):
            event[key] = f"{type(value).__name__}: {value}"
    return event


def _mask_line(_logger: Any, _method: str, line: Any) -> str:
    """Mask the finished line, so that nested values are masked too."""
    return safe(line, None)


def configure(*, level: str = "info", json: bool = False) -> None:
    """Send events of `level` and above to standard error, as `key=value` lines or as JSON: for a command."""
    least = _LEVELS[level.upper()]
    stream = structlog.WriteLogger(sys.stderr)
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.processors.LogfmtRenderer(key_order=["at", "level", "event"], bool_as_flag=False)
    )

    def write(_logger: Any, _method: str, line: str) -> NoReturn:
        stream.msg(line)
        raise structlog.DropEvent

    _wanted[:] = [least.__le__]
    _chain[:] = [
        _drop_unwanted,
        _add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        _plain_exceptions,
        renderer,
        _mask_line,
        write,
    ]


def use_logging() -> None:
    """Send events to the logger `upswell` of the standard library, one line each: for a library; the default.

    Whoever imports Upswell decides where they go. structlog's own configuration, which may be theirs, is
    neither read nor changed.
    """
    logger = logging.getLogger("upswell")

    def bare_event(_logger: Any, _method: str, line: str) -> str:
        return line.removeprefix("event=")  # which is always one word

    def log(_logger: Any, method: str, line: str) -> NoReturn:
        logger.log(_LEVELS[method.upper()], "%s", line)
        raise structlog.DropEvent

    _wanted[:] = [logger.isEnabledFor]
    _chain[:] = [
        _drop_unwanted,
        _add_trace,
        structlog.processors.format_exc_info,
        _plain_exceptions,
        structlog.processors.LogfmtRenderer(key_order=["event"], bool_as_flag=False),
        bare_event,
        _mask_line,
        log,
    ]


@contextmanager
def capture() -> Generator[list[dict[str, Any]]]:
    """Yield a list that collects this process's events, each with its `log_level`, instead of sending them."""
    found: list[dict[str, Any]] = []
    before = _chain[:], _wanted[:]

    def keep(_logger: Any, method: str, event: dict[str, Any]) -> NoReturn:
        found.append({**event, "log_level": logging.getLevelName(_LEVELS[method.upper()]).lower()})
        raise structlog.DropEvent

    _chain[:], _wanted[:] = [keep], [lambda _level: True]
    try:
        yield found
    finally:
        _chain[:], _wanted[:] = before


def get_logger(**bound: object) -> Any:
    """Return a logger that adds the `bound` values to each event."""
    return structlog.wrap_logger(
        object(), processors=_chain, wrapper_class=_Bound, context_class=dict, cache_logger_on_first_use=True
    ).bind(**bound)


use_logging()
