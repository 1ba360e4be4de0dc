"""A client of KEDA's external scaler, made from the .proto, that reads answers as KEDA does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upswell.keda import externalscaler_pb2 as messages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import grpc

PATIENCE = 30.0
"""Seconds that one question may take on a busy machine."""

SOURCE = Path(messages.__file__).parents[2]


def made_from_proto(folder: Path) -> ModuleType:
    """Return the client's code, which grpc_tools makes in `folder`."""
    command = ["-m", "grpc_tools.protoc", f"-I{SOURCE}", f"--grpc_python_out={folder}",
               "upswell/keda/externalscaler.proto"]  # fmt: skip
    subprocess.run([sys.executable, *command], check=True)
    spec = importlib.util.spec_from_file_location(
        "externalscaler_client", folder / "upswell" / "keda" / "externalscaler_pb2_grpc.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class KedaClient:
    """Asks as KEDA's operator does: the number for the HPA, and whether there is any work."""

    def __init__(self, folder: Path, channel: grpc.Channel, **metadata: str) -> None:
        self._stub: Any = made_from_proto(folder).ExternalScalerStub(channel)
        self.ref = messages.ScaledObjectRef(
            name="workers", namespace="default", scalerMetadata={"scalerAddress": "x:6000", **metadata}
        )

    def target(self) -> float:
        """Return the target of the only metric; a float counts where it is above 0."""
        [spec] = self._stub.GetMetricSpec(self.ref, timeout=PATIENCE).metricSpecs
        self.metric_name = spec.metricName
        return spec.targetSizeFloat if spec.targetSizeFloat > 0 else float(spec.targetSize)

    def metric(self) -> float:
        """Return the metric, and ask for activity after it, as KEDA's GetMetricsAndActivity does.

        Raises:
            grpc.RpcError: the scaler has no answer.
        """
        asked = messages.GetMetricsRequest(scaledObjectRef=self.ref, metricName=self.metric_name)
        [value] = self._stub.GetMetrics(asked, timeout=PATIENCE).metricValues
        self.active()
        return value.metricValueFloat if value.metricValueFloat > 0 else float(value.metricValue)

    def active(self) -> bool:
        """Return whether any worker is wanted."""
        return self._stub.IsActive(self.ref, timeout=PATIENCE).result

    def pushed(self) -> Iterator[Any]:
        """Return the stream of activity."""
        return self._stub.StreamIsActive(self.ref)

    def pushed_specs(self) -> Iterator[Any]:
        """Return the stream of metrics' targets."""
        return self._stub.StreamMetricSpec(self.ref)
