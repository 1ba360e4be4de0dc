"""Log events: a fixed name and its numbers, never prose.

`EVENTS` lists every event there is and `docs/log-events.md` shows the same list; a test keeps all three
(code, table, page) equal. Credentials in URLs are masked in every value of every event, whoever wrote it.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

# structlog imports rich wherever it finds it: 160 ms that a worker has no use for. It does without when rich
# looks absent.
_rich_is_hidden = "rich" not in sys.modules
if _rich_is_hidden:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402 - only now

from upswell.safe import safe  # noqa: E402 - as above

if _rich_is_hidden:
    del sys.modules["rich"]

EVENTS: dict[str, str] = {
    "broker.blocked": "RabbitMQ is short of memory or disk and accepts no messages; they are held.",
    "broker.channel_closed": "RabbitMQ closed the channel of the consumers, for the reason given; they consume again on a new one.",
    "broker.connect_failed": "RabbitMQ cannot be reached; the next attempt is in again_in seconds.",
    "broker.connect_refused": "RabbitMQ now refuses the credentials; the next attempt is in again_in seconds.",
    "broker.connected": "Connected to RabbitMQ, at the given attempt; queues and consumers are restored.",
    "broker.connection_died": "A process that used the embedded broker died or hung; what it held is ready again, counted as an attempt.",
    "broker.connection_lost": "The connection to RabbitMQ is lost; Upswell reconnects, and nothing unconfirmed is lost.",
    "broker.consume_failed": "A queue cannot be consumed again yet; the next attempt is in again_in seconds.",
    "broker.consumer_cancelled": "RabbitMQ ended a subscription (queue deleted, leader moved); it is begun again.",
    "broker.consumer_restored": "Someone deleted a queue that is consumed here; it is consumed again.",
    "broker.dead_lettered": "The embedded broker moved a message over its delivery limit to the dead-letter queue (none: it is gone).",
    "broker.declare_failed": "A queue could not be declared again after a reconnection.",
    "broker.disk_refuses": "The embedded broker's disk is full or fails; unconfirmed messages are kept and tried again.",
    "broker.disk_takes_again": "The embedded broker's disk works again; what waited is written, after so many failures.",
    "broker.failed": "The embedded broker's file cannot be used; what was being published is refused.",
    "broker.publish_nacked": "RabbitMQ could not take messages (queue full, no leader); they are sent again in again_in seconds.",
    "broker.publish_refused": "RabbitMQ closed the publishing channel over a message that it never accepts; its publisher gets the error, the others are sent again.",
    "broker.queue_differs": "A queue that is there has other arguments than were asked for; it is used as it is.",
    "broker.queue_lost": "After a reconnection the name of an exclusive queue belonged to another connection.",
    "broker.reconnected": "The connection to the broker was made again, with its queues and consumers.",
    "broker.unblocked": "RabbitMQ accepts messages again; those held are sent.",
    "decision.made": "The monitor decided, and why; unchanged numbers at level debug.",
    "monitor.application_refused": "Too many applications are not in the settings; further ones are ignored.",
    "monitor.application_unknown": "An application outside the settings is observed, never scaled.",
    "monitor.bottleneck_found": "More workers were measured to bring no more throughput, or every attempt fails: an application (or so many) gets no more for now.",
    "monitor.bottleneck_gone": "More workers bring more throughput again, or uploads are stored again, after so many seconds.",
    "monitor.depth_unknown": "A queue's depth is not known; the last one known grows stale.",
    "monitor.journal_failed": "The journal lost a round; the next is written all the same.",
    "monitor.message_refused": "Invalid reports or statuses arrived, count of them; see {report_queue}.dead.",
    "monitor.minimums_kept_again": "max_workers_total is enough for all min_workers again.",
    "monitor.minimums_not_kept": "max_workers_total is less than all min_workers together: workers go where they gain most.",
    "monitor.observer_failed": "The live view raised an error; decisions go on.",
    "monitor.policy_failed": "A policy raises errors: its application (or that many) holds, the others go on.",
    "monitor.policy_raised": "The error that a policy raised, with its traceback; the first of a row only.",
    "monitor.policy_works": "A policy that raised errors decides again, after that many seconds.",
    "monitor.refused_report_lost": "An invalid report could not be moved to {report_queue}.dead.",
    "monitor.round_failed": "A round of decisions failed; the next is made all the same.",
    "monitor.signals_back": "Signals that were lost are back, after so many seconds; nobody is drained for one full window.",
    "monitor.signals_lost": "An application (or so many) lost signals that were known before: its workers stay as they are.",
    "monitor.started": "The monitor listens.",
    "monitor.stopped": "The monitor has stopped; reports is how many it received.",
    "rehearsal.chosen": "A slo policy follows another setting from now on; what it and the one before would have kept and cost.",
    "rehearsal.failed": "An application's rehearsal raised an error; its policy follows what it followed, the others are rehearsed.",
    "rehearsal.past_unknown": "The journal cannot tell what came before; rehearsal begins with what comes now.",
    "scaler.action_failed": "The fleet failed to do what was asked for an application; the next round tries again.",
    "scaler.bad_message": "A scale request or a status could not be read; it is dropped.",
    "scaler.clock_jumped": "The clock was set, or the scaler stood still: its waiting times start over.",
    "scaler.crash_loop": "New workers of an application keep crashing: the next is started after retry_in seconds.",
    "scaler.crash_loop_over": "A new worker of an application has run for a while: its crash loop is over.",
    "scaler.fleet_unreachable": "The fleet does not say which workers run; nothing is started or stopped until it does.",
    "scaler.round_failed": "A round of the scaler failed unexpectedly; the next is made all the same.",
    "scaler.start_failed": "A worker could not be started; the next try waits retry_in seconds.",
    "scaler.started": "The scaler listens.",
    "scaler.unknown_app": "A scale request named an application that is not in the settings: nothing is started for it.",
    "scaler.waiting": "Another scaler runs in this state folder; this one waits to take over.",
    "scaler.target": "The number of workers that should run for an application changed; found is how many there were.",
    "scaler.worker_crashed": "A worker exited without being asked to; with its exit code and the last lines it printed.",
    "scaler.worker_gone": "A worker had exited before this scaler began to watch.",
    "scaler.worker_left": "A worker has drained and exited.",
    "scaler.worker_silent": "A worker runs but sends no status: it is asked to drain, and replaced.",
    "scaler.worker_started": "A worker was started.",
    "scaler.worker_told": "A worker was sent a command: activate, standby or drain (terminate: drain by SIGTERM).",
    "store.leftovers_unknown": "The store did not list the unfinished multipart uploads of a key; a lifecycle rule must remove them.",
    "store.parts_removed": "Unfinished multipart uploads of a key, left by an earlier attempt, were aborted.",
    "store.leftover_removed": "The store swept out an unfinished object that a killed worker had left.",
    "worker.command_ignored": "A worker ignored a command: invalid, late, or sent after its drain began.",
    "worker.drain_overdue": "A draining worker reached drain_timeout with busy uploads in hand: it stops them and returns them to the queue.",
    "worker.handlers_left": "A worker exited while handlers that cannot be stopped still ran; their uploads are back in the queue.",
    "worker.loop_blocked": "The worker's loop was blocked for some seconds: an async handler that blocks (make it a plain function), or an overloaded machine.",
    "worker.publish_refused": "The broker refused a report or a dead letter; the worker makes the queue and publishes again.",
    "worker.slots": "A worker whose slots are found automatically changed their number.",
    "worker.started": "A worker is connected and its queues are there.",
    "worker.state": "A worker changed its state: standby, ready (consuming), draining or stopped.",
    "worker.stopped": "A worker has disconnected; stored, failed and dead count its attempts.",
    "worker.upload_dead": "An upload went to the dead-letter queue, for the reason given.",
    "worker.upload_failed": "An attempt at an upload failed; it is tried again after retry_seconds.",
    "worker.upload_overdue": "An upload reached upload_timeout and is being stopped; a thread keeps its slot until it ends.",
    "worker.uploads_released": "A worker had to exit at once and returned its unfinished uploads to the queue.",
}
"""Event name -> what happened, in a sentence."""


def _plain_exceptions(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, BaseException):
            event[key] = f"{type(value).__name__}: {value}"
    return event


def _mask_line(_logger: Any, _method: str, line: Any) -> str:
    """Mask last, when the line is whole: no value, however deep, gets past it."""
    return safe(line, None)


def configure(*, level: str = "info", json: bool = False) -> None:
    """Send events of `level` and above to standard error, as `key=value` lines or as JSON."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.processors.LogfmtRenderer(key_order=["at", "level", "event"], bool_as_flag=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            _plain_exceptions,
            renderer,
            _mask_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def get_logger(**bound: object) -> Any:
    """Return a logger whose events all hold what is `bound`."""
    return structlog.get_logger(**bound)
