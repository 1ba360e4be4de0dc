"""Figures as text for Prometheus; the only importer of prometheus_client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from upswell.errors import SettingsError
from upswell.extras import needs
from upswell.metrics.figures import METRICS, Distribution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from upswell.metrics.figures import Figure, Metric

try:
    from prometheus_client import ProcessCollector
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.exposition import choose_encoder
except ImportError as missing:
    raise SettingsError(needs("metrics", "metrics", missing)) from missing


def exposed(figures: Iterable[Figure], accept: str) -> tuple[bytes, str]:
    """Return the text of all figures, and of this process's CPU and memory, and its content type.

    `accept` is the header of that name: who asks may prefer OpenMetrics.
    """
    by_metric: dict[str, list[Figure]] = {}
    for figure in figures:
        by_metric.setdefault(figure.metric, []).append(figure)
    encode, content_type = cast("tuple[Any, str]", choose_encoder(accept))
    return encode(_Collected(by_metric)), content_type


class _Collected:
    """What `encode` asks for: something with families to collect."""

    def __init__(self, by_metric: dict[str, list[Figure]]) -> None:
        self._by_metric = by_metric

    def collect(self) -> Iterator[Any]:
        for name, metric in METRICS.items():
            if name in self._by_metric:
                yield _family(name, metric, self._by_metric[name])
        yield from _PROCESS.collect()


_PROCESS: Any = ProcessCollector(registry=cast("Any", None))


def _family(name: str, metric: Metric, figures: list[Figure]) -> Any:
    kind = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "histogram": HistogramMetricFamily}
    family: Any = kind[metric.kind](name, metric.text, labels=metric.labels)
    for figure in figures:
        if isinstance(figure.value, Distribution):
            edges = [(f"{edge:g}", count) for edge, count in figure.value.buckets]
            family.add_metric(
                figure.labels, [*edges, ("+Inf", figure.value.count)], sum_value=figure.value.total
            )
        else:
            family.add_metric(figure.labels, figure.value)
    return family
