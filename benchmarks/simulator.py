"""How fast the simulator is: uploads per second of wall time, beside SimPy and Ciw, and up to many millions.

    python benchmarks/simulator.py [--jobs FILE --slo 60 --start-delay 30] [--quick] [--big] [--json]

1. One case with a fleet that never changes, with a policy asked every 2 s, and with the default policy,
   whose rehearsal runs some 160 fleets beside the real one; where its time goes; and with 4 slots a worker.
2. The same M/M/c, from its rates to its mean waiting time (drawing the uploads included), against SimPy and
   Ciw (dependency group `bench`); Erlang's formula beside it shows that all three simulate the same queue.
3. 1, 4, 16 (and with --big 50) million uploads, each run in a process of its own, whose peak memory is told.

Each figure is the fastest of a few runs. CPU seconds stand beside the wall's: where they are fewer, the
machine was busy with something else.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct, to_builtins
from msgspec.structs import replace

from upswell.policies.constant import ConstantPolicy
from upswell.policies.guarded import Guarded
from upswell.policies.guards.bounds import Bounds
from upswell.policies.slo.slo_formula import SloFormulaPolicy
from upswell.settings import Slo
from upswell.simulator.engine import simulate, simulate_chunks
from upswell.simulator.jobs import CHUNK, read_jobs
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Chunk = tuple[NDArray[np.float64], NDArray[np.float64]]

DAY = 86_400.0
ARRIVAL_RATE, SERVICE_RATE, SERVERS = 9.0, 1.0, 10
LONG_LOAD, LONG_WORKERS = 90.0, 100
GOAL_RATE, GOAL_POLICY, GOAL_PEERS = 500_000, 2.0, 10.0


class Timing(Struct, frozen=True):
    """One measurement."""

    name: str
    uploads: int
    wall: float
    cpu: float
    note: str = ""

    @property
    def rate(self) -> float:
        """Uploads per second of wall time."""
        return self.uploads / self.wall


def worldcup_like(uploads: int, seed: int = 1) -> Chunk:
    """Return two days of traffic with nights, and a flash crowd at each of three matches; 10 s an upload."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(0.0, 2 * DAY, 60.0)
    rate = 1.0 + 0.7 * np.sin(2 * math.pi * (seconds / DAY - 0.3))
    for match in (0.65, 1.6, 1.82):
        rate += 4 * np.exp(-(((seconds - match * DAY) / 2400) ** 2))
    share = np.concatenate(([0.0], np.cumsum(rate)))
    arrivals = np.interp(
        np.sort(rng.random(uploads)) * share[-1], share, np.concatenate((seconds, [2 * DAY]))
    )
    return arrivals, rng.lognormal(math.log(10) - 0.5, 1.0, uploads)


def timed(name: str, uploads: int, run: Callable[[], str], times: int) -> Timing:
    """Return the fastest of some runs; `run` returns what is to be told of it."""
    best = Timing(name, uploads, math.inf, math.inf)
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        note = run()
        taken = time.perf_counter() - wall
        if taken < best.wall:
            best = Timing(name, uploads, taken, time.process_time() - cpu, note)
    return best


class Shares(Struct):
    """Where the time of one run with the default policy went, in seconds of wall time."""

    engine: float = 0.0
    decision: float = 0.0
    shadows: float = 0.0

    def __str__(self) -> str:
        """Return the shares as people read them."""
        total = self.engine + self.decision + self.shadows
        named = (("engine", self.engine), ("decisions", self.decision), ("shadows", self.shadows))
        return ", ".join(f"{name} {seconds:.2f} s ({seconds / total:.0%})" for name, seconds in named)


def where_time_goes(arrivals: Any, services: Any, world: World) -> Shares:
    """Run the default policy with a watch around its rule, and one around all of it."""
    shares = Shares()
    policy = RehearsedPolicy()

    def watched(decide: Callable[[Any], Any], part: str) -> Callable[[Any], Any]:
        def decided(snapshot: Any) -> Any:
            begun = time.perf_counter()
            decision = decide(snapshot)
            setattr(shares, part, getattr(shares, part) + time.perf_counter() - begun)
            return decision

        return decided

    vars(policy.policy)["decide"] = watched(policy.policy.decide, "decision")
    vars(policy)["decide"] = watched(policy.decide, "shadows")
    begun = time.perf_counter()
    simulate(arrivals, services, policy, world)
    shares.engine = time.perf_counter() - begun - shares.shadows
    shares.shadows -= shares.decision
    return shares


def on_a_case(arrivals: Any, services: Any, slo: Slo, start_delay: float, times: int) -> list[Timing]:
    """Return the simulator's speed with a constant and with the default policy."""
    uploads = len(arrivals)
    world = World(slo=slo, start_delay=start_delay)
    span = float(arrivals[-1] - arrivals[0])
    workers = math.ceil(3 * float(services.sum()) / span)

    def told(policy: Any, *, every: bool = False, slots: int = 1) -> str:
        outcome = simulate(arrivals, services, policy, replace(world, slots=slots), keep_timeline=every)
        return f"attained {outcome.attainment:.2%}, {outcome.cost_over_work:.3g} x the work"

    return [
        timed(f"constant, {workers} workers", uploads, lambda: told(ConstantPolicy(workers)), times),
        timed(
            f"constant, {workers} workers, asked every 2 s",
            uploads,
            lambda: told(ConstantPolicy(workers), every=True),
            times,
        ),
        timed(
            f"constant, {math.ceil(workers / 4)} workers of 4 slots, asked every 2 s",
            uploads,
            lambda: told(ConstantPolicy(math.ceil(workers / 4)), every=True, slots=4),
            times,
        ),
        timed(
            "slo_formula",
            uploads,
            lambda: told(Guarded(SloFormulaPolicy(), Bounds(0, world.max_workers))),
            max(1, times // 3),
        ),
        timed("slo, 4 slots a worker", uploads, lambda: told(RehearsedPolicy(), slots=4), max(1, times // 3)),
        timed("slo (rehearsed)", uploads, lambda: told(RehearsedPolicy()), max(1, times // 3)),
    ]


def beside_peers(uploads: int, times: int) -> list[Timing]:
    """Return the speed of the three simulators on one M/M/c."""
    from peers.queues import with_ciw, with_simpy  # noqa: PLC0415 - only this part needs the group `bench`

    world = World(slo=Slo(0.95, 1e9), start_delay=1.0)

    def ours() -> float:
        rng = np.random.default_rng(1)
        arrivals = np.cumsum(rng.exponential(1 / ARRIVAL_RATE, uploads))
        services = rng.exponential(1 / SERVICE_RATE, uploads)
        return simulate(arrivals, services, SERVERS, world).mean_waiting

    def peer(run: Callable[[int, float, float, int, int], float]) -> str:
        return f"mean wait {run(uploads, ARRIVAL_RATE, SERVICE_RATE, SERVERS, 1):.3f} s"

    return [
        timed("upswell", uploads, lambda: f"mean wait {ours():.3f} s", times),
        timed("simpy", uploads, lambda: peer(with_simpy), max(1, times // 2)),
        timed("ciw", uploads, lambda: peer(with_ciw), max(1, times // 2)),
    ]


def erlang_wait(servers: int, load: float) -> float:
    """Return the mean waiting time in M/M/c in service times, by Erlang's C formula (Cooper 1981)."""
    blocking = 1.0
    for count in range(1, servers + 1):
        blocking = load * blocking / (count + load * blocking)
    waiting = servers * blocking / (servers - load * (1 - blocking))
    return waiting / (servers - load)


def drawn(uploads: int) -> Iterator[Chunk]:
    """Yield Poisson arrivals with exponential service times of 1 s, a chunk at a time."""
    rng = np.random.default_rng(1)
    now = 0.0
    for begin in range(0, uploads, CHUNK):
        count = min(CHUNK, uploads - begin)
        arrivals = now + np.cumsum(rng.exponential(1 / LONG_LOAD, count))
        now = float(arrivals[-1])
        yield arrivals, rng.exponential(1.0, count)


def peak_megabytes() -> float:
    """Return the most memory that this process had; `getrusage` may tell its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def long_run(uploads: int) -> None:
    """Simulate so many uploads and print what it took; runs in a process of its own."""
    world = World(slo=Slo(0.95, 30.0), start_delay=1.0)
    wall, cpu = time.perf_counter(), time.process_time()
    outcome = simulate_chunks(drawn(uploads), ConstantPolicy(LONG_WORKERS), world)
    assert outcome.finished == uploads
    print(
        json.dumps(
            {
                "wall": time.perf_counter() - wall,
                "cpu": time.process_time() - cpu,
                "peak": peak_megabytes(),
            }
        )
    )


def linearity(millions: list[float]) -> list[Timing]:
    """Return the speed and the peak memory for ever more uploads."""
    found: list[Timing] = []
    for million in millions:
        uploads = int(million * 1e6)
        command = [sys.executable, __file__, "--long-run", str(uploads)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        name = f"{million:g} million"
        found.append(Timing(name, uploads, told["wall"], told["cpu"], f"peak {told['peak']:.0f} MB"))
    return found


def table(title: str, timings: list[Timing]) -> None:
    """Print a table that can stand in a page as it is."""
    print(f"\n{title}\n\n| what | uploads | wall s | CPU s | uploads/s | |\n|---|---:|---:|---:|---:|---|")
    for timing in timings:
        print(
            f"| {timing.name} | {timing.uploads:,} | {timing.wall:.2f} | {timing.cpu:.2f} | "
            f"{timing.rate:,.0f} | {timing.note} |"
        )


def rows(timings: list[Timing]) -> dict[str, dict[str, Any]]:
    """Return a table for machines."""
    return {
        t.name: {
            "uploads": t.uploads,
            "wall_s": round(t.wall, 4),
            "cpu_s": round(t.cpu, 4),
            "uploads_per_s": round(t.rate),
            "note": t.note,
        }
        for t in timings
    }


def verdict(value: float, goal: float, *, most: bool = False) -> str:
    """Return whether a goal was reached."""
    return "reached" if (value <= goal if most else value >= goal) else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", help="a CSV file with arrival_s,service_s in place of the generated case")
    parser.add_argument("--slo", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=0.99)
    parser.add_argument("--start-delay", type=float, default=30.0)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, once")
    parser.add_argument("--big", action="store_true", help="50 million uploads, too")
    parser.add_argument("--json", action="store_true", help="one JSON object in the last line")
    parser.add_argument("--long-run", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.long_run:
        long_run(chosen.long_run)
        return
    scale, times = (0.1, 1) if chosen.quick else (1.0, 3)
    arrivals, services = read_jobs(chosen.jobs) if chosen.jobs else worldcup_like(int(44_275 * scale))
    slo = Slo(chosen.share, chosen.slo)
    case = on_a_case(arrivals, services, slo, chosen.start_delay, times)
    constant, asked, default = case[0], case[1], case[-1]
    shares = where_time_goes(arrivals, services, World(slo=slo, start_delay=chosen.start_delay))
    table(f"{chosen.jobs or 'Two days like the World Cup (generated)'}, slo {slo}", case)
    slower = default.wall / constant.wall
    print(
        f"\nConstant: {constant.rate:,.0f} uploads/s "
        f"({constant.uploads / constant.cpu:,.0f} per second of CPU), goal {GOAL_RATE:,}: "
        f"{verdict(constant.rate, GOAL_RATE)}."
    )
    print(f"Rehearsed policy: {slower:.3g} x the constant's time, goal at most {GOAL_POLICY:g}: "
          f"{verdict(slower, GOAL_POLICY, most=True)}; {default.cpu / asked.cpu:.3g} x that of a constant "
          f"which is asked every 2 s ({asked.rate:,.0f} uploads/s). In one run: {shares}.")  # fmt: skip

    peers = beside_peers(int(200_000 * scale), times)
    expected = erlang_wait(SERVERS, ARRIVAL_RATE / SERVICE_RATE) / SERVICE_RATE
    table(f"M/M/{SERVERS}, utilisation {ARRIVAL_RATE / SERVICE_RATE / SERVERS:.0%}", peers)
    print(f"\nErlang's formula: mean wait {expected:.3f} s.")
    ratios = {peer.name: peers[0].rate / peer.rate for peer in peers[1:]}
    for peer in peers[1:]:
        ratio = ratios[peer.name]
        print(
            f"{ratio:.1f} x as fast as {peer.name} ({peer.cpu / peers[0].cpu:.1f} x by CPU), "
            f"goal {GOAL_PEERS:g}: {verdict(ratio, GOAL_PEERS)}."
        )

    millions = [0.1, 0.4] if chosen.quick else [1.0, 4.0, 16.0] + [50.0] * chosen.big
    long = linearity(millions)
    table(f"M/M/{LONG_WORKERS}, offered load {LONG_LOAD:g} slots, drawn while it runs", long)
    growth = (long[-1].cpu / long[0].cpu) / (long[-1].uploads / long[0].uploads)
    print(f"\nCPU time an upload: {growth:.2f} x from the smallest to the largest run (1: linear).")
    if chosen.json:
        result = {"case": rows(case), "slo_over_constant": round(slower, 3),
                  "slo_over_constant_asked": round(default.cpu / asked.cpu, 3),
                  "slo_seconds": to_builtins(shares), "mmc": rows(peers),
                  "mmc_expected_wait": expected, "ratios": ratios, "linearity": rows(long),
                  "growth": growth}  # fmt: skip
        print(json.dumps(result))


if __name__ == "__main__":
    main()
