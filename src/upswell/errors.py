"""Every error that Upswell raises on purpose, in one tree.

UpswellError
    SettingsError               a setting is unknown or breaks its rule
    BrokerError                 the message broker refused something permanently
        QueueMismatchError      a queue of that name exists for another purpose
        QueueInUseError         a queue that allows one consumer has one already
        UnroutableError         a mandatory message reached no queue
        NobodyListensError      no monitor, or no scaler, is there to take an order
        NoAnswerError           one took an order and did not answer in time
    NotLeadingError             what only a leader may do was asked of one that leads no more
    FleetError                  a fleet could not start, list or stop workers
        FleetFullError          the platform takes no more workers: a quota, an admission rule
    UploadFailed                an upload that was waited for is dead
    JournalError                the journal's file cannot be read or written
    TraceError                  a trace of uploads cannot be read or simulated
    UploadError                 one upload failed
        TemporaryUploadError    may succeed later: it is redelivered after a backoff
            StoreUnavailableError   the store is down for everyone: not counted as an attempt
        PermanentUploadError    can never succeed: it is dead-lettered immediately
            MessageError        an invalid message

A message states the rule and the value (``max_workers must be >= min_workers (2), got 1``) and contains no
secret.
"""

from __future__ import annotations


class UpswellError(Exception):
    """Root of the tree; the command line prints it in one line, without a traceback."""


class SettingsError(UpswellError):
    """A setting is unknown or breaks its rule."""


class BrokerError(UpswellError):
    """The message broker refused something permanently."""


class QueueMismatchError(BrokerError):
    """A queue of that name exists for another purpose."""


class QueueInUseError(BrokerError):
    """A queue that allows only one consumer already has one."""

    def __init__(self, queue: str) -> None:
        super().__init__(f"queue {queue} already has a consumer and allows only one")


class UnroutableError(BrokerError):
    """A mandatory message reached no queue."""


class NobodyListensError(BrokerError):
    """No monitor, or no scaler, is there to take an order."""


class NoAnswerError(BrokerError):
    """A monitor, or a scaler, took an order and did not answer in time; it may have ended meanwhile."""


class NotLeadingError(UpswellError):
    """What only a leader may do was asked of one that leads no more."""


class FleetError(UpswellError):
    """A fleet could not start, list or stop workers."""


class FleetFullError(FleetError):
    """The platform takes no more workers (a quota, an admission rule): a ceiling, not a crash."""


class UploadFailed(UpswellError):  # noqa: N818 - as a program reads it: except UploadFailed
    """An upload that was waited for is in the dead-letter queue, or was lost sight of; `reason` says why.

    All of its text comes from a worker.
    """

    def __init__(self, reason: str, *, request_id: str) -> None:
        super().__init__(f"upload {request_id} failed: {reason}")
        self.reason = reason
        self.request_id = request_id


class JournalError(UpswellError):
    """The journal's file cannot be read or written."""


class TraceError(UpswellError):
    """A trace of uploads cannot be read or simulated."""


class UploadError(UpswellError):
    """One upload failed."""


class TemporaryUploadError(UploadError):
    """An upload failed in a way that may succeed later: it is redelivered after a backoff.

    `retry_after`: seconds that the server asked to wait; 0: it did not say.
    """

    def __init__(self, message: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreUnavailableError(TemporaryUploadError):
    """The store is unreachable or overloaded: the upload is requeued and not counted as an attempt."""


class PermanentUploadError(UploadError):
    """An upload that can never succeed: it is dead-lettered immediately, with the reason."""


class MessageError(PermanentUploadError):
    """A message is invalid."""
