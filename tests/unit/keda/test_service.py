# ruff: noqa: D101, D102 - doubles whose methods do what their names say
"""Each of KEDA's questions, and each error that KEDA gets instead of a zero."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from upswell.events import capture
from upswell.keda.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef
from upswell.keda.loop import KedaAnswer, KedaScaler
from upswell.keda.service import ExternalScaler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class AbortedError(Exception):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code


class Context:
    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise AbortedError(code, details)


class Answers:
    """Stands for the loop: its answers are set by the test."""

    def __init__(self, **numbers: KedaAnswer) -> None:
        self.numbers = numbers
        self.ended = False
        self._changed = asyncio.Condition()

    @property
    def apps(self) -> list[str]:
        return sorted(self.numbers)

    def answer(self, app_id: str) -> KedaAnswer | None:
        return self.numbers.get(app_id)

    async def next_answer(self, app_id: str, known: KedaAnswer | None) -> KedaAnswer | None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.ended or self.numbers.get(app_id) != known)
            return self.numbers.get(app_id)

    async def change(self, app_id: str, answer: KedaAnswer | None) -> None:
        async with self._changed:
            if answer is None:
                del self.numbers[app_id]
            else:
                self.numbers[app_id] = answer
            self._changed.notify_all()

    async def end(self) -> None:
        async with self._changed:
            self.ended = True
            self._changed.notify_all()


UNKNOWN = KedaAnswer(None, "the monitor is silent")


def service(**numbers: KedaAnswer) -> tuple[ExternalScaler, Answers]:
    answers = Answers(**numbers)
    return ExternalScaler(cast("KedaScaler", answers)), answers


def ref(**metadata: str) -> ScaledObjectRef:
    return ScaledObjectRef(
        name="workers", namespace="default", scalerMetadata={"scalerAddress": "upswell-keda:6000", **metadata}
    )


def metrics(**metadata: str) -> GetMetricsRequest:
    return GetMetricsRequest(scaledObjectRef=ref(**metadata), metricName="upswell-e1")


def refused(ask: Awaitable[Any]) -> AbortedError:
    async def run() -> AbortedError:
        with pytest.raises(AbortedError) as caught:
            await ask
        return caught.value

    return asyncio.run(run())


def test_the_target_is_one_and_the_metric_is_the_number() -> None:
    async def scenario() -> None:
        scaler, _ = service(e1=KedaAnswer(11))
        [spec] = (await scaler.get_metric_spec(ref(application="e1"), Context())).metricSpecs
        assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == ("upswell-e1", 1, 1.0)
        [value] = (await scaler.get_metrics(metrics(application="e1"), Context())).metricValues
        assert (value.metricName, value.metricValue, value.metricValueFloat) == ("upswell-e1", 11, 11.0)

    asyncio.run(scenario())


@pytest.mark.parametrize(("number", "active"), [(0, False), (1, True), (7, True)])
def test_it_is_active_where_any_worker_is_wanted(number: int, active: bool) -> None:
    async def scenario() -> None:
        scaler, _ = service(e1=KedaAnswer(number))
        assert (await scaler.is_active(ref(application="e1"), Context())).result is active

    asyncio.run(scenario())


def test_each_object_gets_the_number_of_the_application_that_it_names() -> None:
    async def scenario() -> None:
        scaler, _ = service(e1=KedaAnswer(3), e2=KedaAnswer(8))
        numbers = [
            (await scaler.get_metrics(metrics(application=app), Context())).metricValues[0].metricValue
            for app in ("e1", "e2")
        ]
        assert numbers == [3, 8]

    asyncio.run(scenario())


@pytest.mark.parametrize("ask", [lambda s: s.is_active(ref(application="e1"), Context()),
                                 lambda s: s.get_metrics(metrics(application="e1"), Context())])  # fmt: skip
def test_lost_signals_are_an_error_and_never_a_zero(ask: Callable[[ExternalScaler], Awaitable[Any]]) -> None:
    scaler, _ = service(e1=UNKNOWN)
    error = refused(ask(scaler))
    assert error.code == grpc.StatusCode.UNAVAILABLE
    assert "e1" in str(error)
    assert "the monitor is silent" in str(error)


def test_an_application_outside_the_settings_is_not_found_and_said_once() -> None:
    scaler, _ = service(e1=KedaAnswer(3), e2=KedaAnswer(3))
    with capture() as events:
        for _ in range(3):
            error = refused(scaler.get_metrics(metrics(application="e9"), Context()))
    assert error.code == grpc.StatusCode.NOT_FOUND
    assert "e9" in str(error)
    assert "e1, e2" in str(error)
    assert [event["event"] for event in events] == ["keda.asked_for_unknown"]


@pytest.mark.parametrize(
    ("metadata", "words"),
    [({}, "must have `application`, got ['scalerAddress']"), ({"application": "../etc"}, "'../etc'"),
     ({"application": ""}, "1 to 64 letters")],
)  # fmt: skip
def test_metadata_that_name_no_application_are_refused_with_rule_and_value(
    metadata: dict[str, str], words: str
) -> None:
    scaler, _ = service(e1=KedaAnswer(3))
    for ask in (
        scaler.is_active(ref(**metadata), Context()),
        scaler.get_metric_spec(ref(**metadata), Context()),
        scaler.get_metrics(metrics(**metadata), Context()),
    ):
        error = refused(ask)
        assert error.code == grpc.StatusCode.INVALID_ARGUMENT
        assert words in str(error)


@pytest.mark.parametrize("app_id", ["e1", "e9"])
def test_the_metric_is_told_whatever_is_known(app_id: str) -> None:
    """KEDA asks once; on an error it makes an autoscaler that looks at the processor, for good."""

    async def scenario() -> None:
        scaler, _ = service(e1=UNKNOWN)
        [spec] = (await scaler.get_metric_spec(ref(application=app_id), Context())).metricSpecs
        assert spec.targetSizeFloat == 1.0

    asyncio.run(scenario())


def test_activity_is_pushed_at_once_and_at_each_change_and_silence_says_nothing() -> None:
    async def scenario() -> None:
        scaler, answers = service(e1=UNKNOWN)
        pushed = scaler.stream_is_active(ref(application="e1"), Context())
        first = asyncio.ensure_future(anext(pushed))
        await asyncio.sleep(0)
        assert not first.done()  # nothing is known, so nothing is said
        await answers.change("e1", KedaAnswer(0))
        assert (await first).result is False
        following = asyncio.ensure_future(anext(pushed))
        await answers.change("e1", UNKNOWN)
        await answers.change("e1", KedaAnswer(0))
        await answers.change("e1", KedaAnswer(4))
        assert (await following).result is True
        following = asyncio.ensure_future(anext(pushed))
        await answers.change("e1", KedaAnswer(9))  # active as before
        await answers.end()
        with pytest.raises(StopAsyncIteration):
            await following

    asyncio.run(scenario())


def test_a_stream_whose_application_leaves_the_settings_ends_with_an_error() -> None:
    async def scenario() -> None:
        scaler, answers = service(e1=KedaAnswer(1))
        for stream in (scaler.stream_is_active, scaler.stream_metric_spec):
            answers.numbers["e1"] = KedaAnswer(1)
            pushed = stream(ref(application="e1"), Context())
            await anext(pushed)
            following = asyncio.ensure_future(anext(pushed))
            await asyncio.sleep(0)
            await answers.change("e1", None)
            with pytest.raises(AbortedError) as caught:
                await following
            assert caught.value.code == grpc.StatusCode.NOT_FOUND

    asyncio.run(scenario())


def test_the_stream_of_metrics_begins_with_what_the_question_gets() -> None:
    async def scenario() -> None:
        scaler, answers = service(e1=KedaAnswer(1))
        pushed = scaler.stream_metric_spec(ref(application="e1"), Context())
        assert await anext(pushed) == await scaler.get_metric_spec(ref(application="e1"), Context())
        following = asyncio.ensure_future(anext(pushed))
        await answers.end()
        with pytest.raises(StopAsyncIteration):
            await following

    asyncio.run(scenario())
