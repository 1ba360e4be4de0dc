# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""KEDA's questions, answered over gRPC: is there work, by which number, and how many workers.

What comes in: the metadata of a ScaledObject's trigger, hostile until looked up. What goes out: the number of
workers of the application that it names, or an error that says why there is none: KEDA changes nothing on an
error, where a zero would end all workers. It must not know how the number comes about.

The interface is KEDA's (externalscaler.proto).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from upswell.errors import MessageError
from upswell.events import get_logger
from upswell.keda.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from upswell.messages import check_app_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from upswell.keda.loop import KedaAnswer, KedaScaler

_log = get_logger()

SERVICE = "externalscaler.ExternalScaler"
METADATA_KEY = "application"
"""The trigger's metadata names the application under this key."""

_MAX_WARNINGS = 100


class ExternalScaler:
    """The methods of KEDA's external scaler.

    Each raises, by aborting its call: INVALID_ARGUMENT, the metadata name no application; NOT_FOUND, it is
    not in the settings; UNAVAILABLE, the number is not known at present.
    """

    def __init__(self, scaler: KedaScaler) -> None:
        self._scaler = scaler
        self._unknown: set[str] = set()

    async def is_active(self, ref: ScaledObjectRef, context: Any) -> IsActiveResponse:
        """Return whether any worker is wanted: KEDA starts the first and ends the last by it."""
        return IsActiveResponse(result=await self._number(ref, context) > 0)

    async def stream_is_active(self, ref: ScaledObjectRef, context: Any) -> AsyncIterator[IsActiveResponse]:
        """Yield whether any worker is wanted, at once and at each change.

        While it is not known nothing is said and the stream stays: KEDA waits up to a minute after a broken
        one, and would start the first worker so much later.
        """
        app_id = await self._application(ref, context)
        said: bool | None = None
        async for answer in self._answers(app_id, context):
            if answer.number is not None and said != (answer.number > 0):
                said = answer.number > 0
                yield IsActiveResponse(result=said)

    async def get_metric_spec(self, ref: ScaledObjectRef, context: Any) -> GetMetricSpecResponse:
        """Return the metric and its target: 1, so that as many workers run as the number says.

        Any valid application gets it, known or not: KEDA asks once, and where it gets an error it makes an
        autoscaler that looks at the processor, and never mends it.
        """
        return _spec(await self._named(ref, context))

    async def stream_metric_spec(
        self, ref: ScaledObjectRef, context: Any
    ) -> AsyncIterator[GetMetricSpecResponse]:
        """Yield the metric and its target, which never change, and keep the stream."""
        app_id = await self._application(ref, context)
        yield _spec(app_id)
        async for _ in self._answers(app_id, context):
            pass

    async def get_metrics(self, request: GetMetricsRequest, context: Any) -> GetMetricsResponse:
        """Return the number of workers."""
        number = await self._number(request.scaledObjectRef, context)
        value = MetricValue(metricName=request.metricName, metricValue=number, metricValueFloat=float(number))
        return GetMetricsResponse(metricValues=[value])

    async def _answers(self, app_id: str, context: Any) -> AsyncIterator[KedaAnswer]:
        """Yield an application's answer, at once and at each change, until all ends."""
        answer = self._scaler.answer(app_id)
        while answer is not None and not self._scaler.ended:
            yield answer
            answer = await self._scaler.next_answer(app_id, answer)
        if answer is None:
            await self._abort_unknown(app_id, context)

    async def _number(self, ref: ScaledObjectRef, context: Any) -> int:
        app_id = await self._application(ref, context)
        answer = self._scaler.answer(app_id)
        assert answer is not None
        if answer.number is None:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, f"the number of workers of {app_id} is unknown: {answer.why}"
            )
        assert answer.number is not None
        return answer.number

    async def _application(self, ref: ScaledObjectRef, context: Any) -> str:
        """Return the application that is asked for, which is one of the settings."""
        app_id = await self._named(ref, context)
        if self._scaler.answer(app_id) is None:
            await self._abort_unknown(app_id, context)
        return app_id

    async def _named(self, ref: ScaledObjectRef, context: Any) -> str:
        metadata = dict(ref.scalerMetadata)
        name = metadata.get(METADATA_KEY)
        why = f"the trigger's metadata must have `{METADATA_KEY}`, got {sorted(metadata)[:20]}"
        if name is not None:
            try:
                return check_app_id(name)
            except MessageError as error:
                why = f"{METADATA_KEY}: {error}"
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)
        raise AssertionError  # abort does not return

    async def _abort_unknown(self, app_id: str, context: Any) -> NoReturn:
        if app_id not in self._unknown and len(self._unknown) < _MAX_WARNINGS:
            self._unknown.add(app_id)
            _log.warning("keda.asked_for_unknown", app_id=app_id)
        known = ", ".join(self._scaler.apps[:20])
        await context.abort(
            grpc.StatusCode.NOT_FOUND, f"{app_id} is not in the settings of upswell keda, which have {known}"
        )
        raise AssertionError  # abort does not return


def _spec(app_id: str) -> GetMetricSpecResponse:
    spec = MetricSpec(metricName=f"upswell-{app_id}", targetSize=1, targetSizeFloat=1.0)
    return GetMetricSpecResponse(metricSpecs=[spec])


def method_handlers(scaler: ExternalScaler) -> grpc.GenericRpcHandler:
    """Return the methods of the interface, each with its messages' types, for a server."""
    unary: Any = grpc.unary_unary_rpc_method_handler
    stream: Any = grpc.unary_stream_rpc_method_handler
    table: list[tuple[str, Any, Any, Any, Any]] = [
        ("IsActive", unary, scaler.is_active, ScaledObjectRef, IsActiveResponse),
        ("StreamIsActive", stream, scaler.stream_is_active, ScaledObjectRef, IsActiveResponse),
        ("GetMetricSpec", unary, scaler.get_metric_spec, ScaledObjectRef, GetMetricSpecResponse),
        ("StreamMetricSpec", stream, scaler.stream_metric_spec, ScaledObjectRef, GetMetricSpecResponse),
        ("GetMetrics", unary, scaler.get_metrics, GetMetricsRequest, GetMetricsResponse),
    ]
    handlers = {
        name: kind(method, asked.FromString, answered.SerializeToString)
        for name, kind, method, asked, answered in table
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)
