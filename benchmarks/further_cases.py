"""Further cases from the real traces: twelve kept apart while the choice is tuned, and others to tune it on.

    python benchmarks/further_cases.py TRACES FOLDER [--group apart|practice|more] [--cases NAME,NAME]
        [--no-oracle]

In: the folder of traces that docs/benchmarks.md describes. Out: FOLDER/NAME.csv.gz (`arrival_s,service_s`)
and FOLDER/cases.json with each case's objective, share, start-up delay, slots and the cost of our own oracle
over the work (minutes; with --no-oracle the work itself, which a regret's ratio does not depend on): what
`benchmarks/autoscalers.py FOLDER` reads. The same name makes the same case.
Those kept apart take other days than the seven cases of docs/benchmarks.md and than those for practice.
"""

from __future__ import annotations

import argparse
import gzip
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from upswell.lab.oracle import oracle
from upswell.workload.columns import read_columns
from upswell.workload.counts import spread
from upswell.workload.distributions import service_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_DAY = 86_400.0
_HOUR = 3_600.0
_CAP = 0.9
"""Of the objective: no upload takes longer, as in the seven cases, so that every one can be in time."""


class FurtherCase(Struct, frozen=True, kw_only=True):
    """One case; times in seconds."""

    name: str
    trace: str
    """File name: counts (`t_seconds,count`) or jobs (`arrival_s` first)."""
    begin: float
    span: float
    service: str
    """`bimodal(short, long, share of long)`, or what `upswell simulate --service` takes."""
    slo: float
    share: float
    start_delay: float
    slots: int = 1
    thin: float = 1.0
    squeeze: float = 1.0
    """Factor by which time is shortened."""


def _days(first: float, last: float) -> tuple[float, float]:
    return first * _DAY, (last - first + 1) * _DAY


def _case(  # noqa: PLR0917 - a row of the tables below
    name: str,
    trace: str,
    window: tuple[float, float],
    service: str,
    objective: tuple[float, float],
    start_delay: float,
    slots: int = 1,
    thin: float = 1.0,
    squeeze: float = 1.0,
) -> FurtherCase:
    return FurtherCase(
        name=name,
        trace=trace,
        begin=window[0],
        span=window[1],
        service=service,
        slo=objective[0],
        share=objective[1],
        start_delay=start_delay,
        slots=slots,
        thin=thin,
        squeeze=squeeze,
    )


_CUP, _STREAM = "worldcup98_60s.csv", "twitter_stream_1s.csv"
_ELB, _TWEETS, _TAXI, _WIKI = (
    "aws_elb_300s.csv",
    "tweets_AAPL_300s.csv",
    "nyc_taxi_1800s.csv",
    "wikipedia_3600s.csv",
)
_SWIM, _MOON = "swim_fb2010.csv", "mooncake_conv.csv"

APART = (
    _case("cup-d37-38", _CUP, _days(37, 38), "exponential(3)", (30, 0.95), 10, 1, 0.0015),
    _case("cup-d66-67", _CUP, _days(66, 67), "lognormal(20, 2)", (120, 0.99), 60, 4, 0.0006),
    _case("cup-d46", _CUP, _days(46, 46), "bimodal(20, 300, 0.1)", (600, 0.999), 120, 16, 0.001),
    _case("stream-h13-15", _STREAM, (13 * _HOUR, 3 * _HOUR), "exponential(1)", (5, 0.90), 1, 1, 0.08),
    _case("stream-h20-22", _STREAM, (20 * _HOUR, 3 * _HOUR), "bimodal(2, 8, 0.2)", (10, 0.999), 5, 8, 0.12),
    _case("mooncake", _MOON, (0.0, _HOUR), "lognormal(6, 1)", (60, 0.99), 20),
    _case("elb-d5-6", _ELB, _days(5, 6), "lognormal(30, 1)", (300, 0.995), 120, 2),
    _case("elb-d10-11", _ELB, _days(10, 11), "exponential(10)", (45, 0.95), 30),
    _case("tweets-d30-32", _TWEETS, _days(30, 32), "bimodal(5, 30, 0.2)", (40, 0.99), 15, 4, 0.25),
    _case("tweets-d46-48", _TWEETS, _days(46, 48), "exponential(25)", (600, 0.90), 90, 1, 0.2),
    _case("taxi-d60-66", _TAXI, _days(60, 66), "lognormal(8, 1)", (20, 0.999), 30, 2, 0.008, 12),
    _case("wiki-d30-36", _WIKI, _days(30, 36), "exponential(5)", (15, 0.99), 8, 2, 0.00015, 10),
)
"""Chosen before anything was tuned; not run while it is."""

PRACTICE = (
    _case("p-cup-d20", _CUP, _days(20, 20), "exponential(5)", (30, 0.99), 15, 1, 0.008),
    _case("p-cup-d51", _CUP, _days(51, 51), "bimodal(1, 15, 0.1)", (60, 0.95), 45, 2, 0.001),
    _case("p-cup-d74", _CUP, _days(74, 75), "lognormal(8, 1)", (40, 0.995), 5, 1, 0.0015),
    _case("p-stream-h2", _STREAM, (2 * _HOUR, 2 * _HOUR), "lognormal(1, 2)", (8, 0.99), 3, 2, 0.06),
    _case("p-stream-h8", _STREAM, (8 * _HOUR, 3 * _HOUR), "exponential(4)", (20, 0.95), 25, 1, 0.06),
    _case("p-elb-d4", _ELB, _days(4, 4), "bimodal(5, 60, 0.2)", (200, 0.99), 60),
    _case("p-elb-d8", _ELB, _days(8, 9), "exponential(20)", (60, 0.9), 60, 4),
    _case("p-tweets-d2", _TWEETS, _days(2, 4), "lognormal(5, 1)", (30, 0.95), 10, 1, 0.3),
    _case("p-tweets-d20", _TWEETS, _days(18, 22), "exponential(15)", (120, 0.99), 30, 2, 0.2),
    _case("p-tweets-d38", _TWEETS, _days(38, 40), "bimodal(3, 30, 0.1)", (60, 0.999), 20, 2, 0.4),
    _case("p-taxi-d10", _TAXI, _days(10, 14), "exponential(3)", (15, 0.99), 4, 1, 0.005, 20),
    _case("p-wiki-d5", _WIKI, _days(5, 9), "lognormal(6, 2)", (60, 0.995), 20, 2, 0.00015, 8),
    _case("p-swim", _SWIM, (0.0, _DAY), "exponential(4)", (20, 0.95), 8),
    _case("p-swim-kept", _SWIM, (0.0, _DAY), "lognormal(10, 2)", (120, 0.99), 40, 4),
)
"""To tune on."""

MORE = (
    _case("t-cup-d23", _CUP, _days(23, 24), "lognormal(4, 1)", (20, 0.99), 10, 1, 0.006),
    _case("t-cup-d44", _CUP, _days(44, 45), "exponential(8)", (90, 0.99), 40, 1, 0.0008),
    _case("t-cup-d62", _CUP, _days(62, 62), "bimodal(10, 120, 0.1)", (300, 0.995), 120, 8, 0.006),
    _case("t-cup-d80", _CUP, _days(80, 81), "lognormal(6, 2)", (45, 0.95), 20, 2, 0.003),
    _case("t-stream-h5", _STREAM, (5 * _HOUR, 2 * _HOUR), "exponential(2)", (10, 0.999), 2, 4, 0.08),
    _case("t-stream-h17", _STREAM, (17 * _HOUR, 2 * _HOUR), "lognormal(3, 1)", (15, 0.9), 10, 1, 0.1),
    _case("t-elb-d3", _ELB, _days(3, 3), "exponential(15)", (90, 0.99), 30),
    _case("t-elb-d7", _ELB, _days(7, 7), "lognormal(40, 1)", (600, 0.95), 100, 16),
    _case("t-elb-d12", _ELB, _days(12, 13), "bimodal(5, 40, 0.3)", (60, 0.99), 60, 1),
    _case("t-tweets-d24", _TWEETS, _days(24, 26), "exponential(8)", (30, 0.99), 20, 1, 0.3),
    _case("t-tweets-d34", _TWEETS, _days(34, 36), "lognormal(20, 1)", (240, 0.999), 60, 4, 0.3),
    _case("t-tweets-d50", _TWEETS, _days(50, 52), "lognormal(10, 1)", (60, 0.98), 60, 1, 0.25),
    _case("t-taxi-d100", _TAXI, _days(100, 106), "exponential(4)", (10, 0.999), 20, 4, 0.008, 12),
    _case("t-taxi-d150", _TAXI, _days(150, 154), "lognormal(12, 1)", (60, 0.99), 10, 1, 0.004, 20),
    _case("t-wiki-d20", _WIKI, _days(20, 25), "bimodal(2, 20, 0.1)", (30, 0.999), 15, 8, 0.0003, 20),
    _case("t-wiki-d45", _WIKI, _days(45, 50), "exponential(6)", (20, 0.98), 30, 1, 0.00012, 10),
)
"""To tune on as well, of other days: what the family was cut to. No prior was learned from them."""

GROUPS = {"apart": APART, "practice": PRACTICE, "more": MORE}


def draw(case: FurtherCase, traces: Path) -> tuple[Floats, Floats]:
    """Return (arrivals, service times) of a case; the name is the seed."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    arrivals = _arrivals(case, traces / case.trace, rng)
    services = _services(case.service, rng, len(arrivals))
    return arrivals, np.minimum(services, _CAP * case.slo)


def _arrivals(case: FurtherCase, path: Path, rng: np.random.Generator) -> Floats:
    with path.open() as file:
        counted = file.readline().startswith("t_seconds")
    if counted:
        times, counts = read_columns(path, "t_seconds", "count")
        inside = (times >= case.begin) & (times < case.begin + case.span)
        arrivals = spread(times[inside] - case.begin, counts[inside], rng, thin=case.thin)
    else:
        arrivals, _ = read_columns(path, "arrival_s", "arrival_s")
        arrivals = arrivals[(arrivals >= case.begin) & (arrivals < case.begin + case.span)] - case.begin
        arrivals = arrivals[rng.random(len(arrivals)) < case.thin] if case.thin < 1 else arrivals
    return arrivals / case.squeeze


def _services(text: str, rng: np.random.Generator, count: int) -> Floats:
    if not text.startswith("bimodal("):
        return service_times(text).draw(rng, count)
    short, long, share = (float(part) for part in text.removeprefix("bimodal(").removesuffix(")").split(","))
    mean = np.where(rng.random(count) < share, long, short)
    # each kind with a tenth of variation: two sizes of upload, not two constants
    return mean * rng.lognormal(-0.005, 0.1, count)


def facts(case: FurtherCase, arrivals: Floats, services: Floats, *, asked: bool = True) -> dict[str, Any]:
    """Return a case's entry in cases.json, with what the oracle costs if it is asked, else the work."""
    entry = {
        "slo_s": case.slo,
        "share": case.share,
        "start_delay_s": case.start_delay,
        "slots": case.slots,
        "jobs": len(arrivals),
        "work_s": round(float(services.sum()), 1),
    }
    if not asked:
        return {**entry, "oracle_cost_over_work": 1.0}
    found = oracle(
        arrivals,
        services,
        objective=case.slo,
        share=case.share,
        start_delay=case.start_delay,
        step=max(case.slo / 16, float(arrivals[-1]) / 20_000),
    )
    return {
        **entry,
        "oracle_cost_over_work": round(found.cost_over_work, 4),
        "oracle_attainment": round(found.attainment, 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("traces", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--group", choices=GROUPS, default="apart")
    parser.add_argument("--cases")
    parser.add_argument("--no-oracle", action="store_true")
    arguments = parser.parse_args()
    wanted = arguments.cases.split(",") if arguments.cases else None
    arguments.folder.mkdir(parents=True, exist_ok=True)
    index = arguments.folder / "cases.json"
    entries: dict[str, Any] = json.loads(index.read_text()) if index.exists() else {}
    for case in GROUPS[arguments.group]:
        if wanted and case.name not in wanted:
            continue
        arrivals, services = draw(case, arguments.traces)
        with gzip.open(arguments.folder / f"{case.name}.csv.gz", "wt") as file:
            file.write("arrival_s,service_s\n")
            file.writelines(f"{a:.3f},{s:.4f}\n" for a, s in zip(arrivals, services, strict=True))
        entries[case.name] = entry = facts(case, arrivals, services, asked=not arguments.no_oracle)
        index.write_text(json.dumps(entries, indent=1))
        found = (
            f", {entry['oracle_attainment']:.5f} in time" if "oracle_attainment" in entry else " (not asked)"
        )
        print(
            f"{case.name:16s} {entry['jobs']:7,d} uploads, {entry['work_s']:10,.0f} s of work, "
            f"oracle {entry['oracle_cost_over_work']:.4f} of it{found}",
            flush=True,
        )


if __name__ == "__main__":
    main()
