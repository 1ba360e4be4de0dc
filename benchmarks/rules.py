"""What one decision by rules costs: all rules of examples/rules at once, alone and as a guard around `slo`.

    python benchmarks/rules.py

Prints the median and the 99th percentile of one decision in microseconds of CPU time, so that others on the
machine do not count. The snapshots are of a calm, a busy and a failing application in turn: some rules fire
and some do not.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from upswell.policies import ScalingPolicy

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from upswell.policies.guarded import Guarded  # noqa: E402
from upswell.policies.rules.file import parse  # noqa: E402
from upswell.policies.rules.policy import RulesGuard, RulesPolicy  # noqa: E402 - behind the path
from upswell.policies.slo.slo_formula import SloFormulaPolicy  # noqa: E402
from upswell.testing.snapshots import ordinary  # noqa: E402  # pyright: ignore[reportMissingImports] - the line above

DECISIONS = 20_000


def all_examples() -> str:
    """Return one file of all rules of the examples; their files differ in the time zone at most."""
    texts = [path.read_text("utf-8") for path in sorted((ROOT / "examples/rules").glob("*.toml"))]
    rules = "\n".join(re.sub(r"^timezone = .*$", "", text, flags=re.MULTILINE) for text in texts)
    return f'timezone = "Europe/Helsinki"\n{rules}'


def measure(policy: ScalingPolicy) -> list[float]:
    """Return the microseconds of each decision, shortest first."""
    seen = [
        ordinary(current=3),
        ordinary(current=3, messages_ready=300, oldest_age=40.0, recent_response_times=(31.0, 45.0)),
        ordinary(current=3, failures=100, throughput=0.0, messages_ready=5),
    ]
    taken: list[float] = []
    for number in range(DECISIONS):
        snapshot = replace(seen[number // 50 % 3], at=1.8e9 + 2 * number)
        begun = time.thread_time()
        policy.decide(snapshot)
        taken.append((time.thread_time() - begun) * 1e6)
    return sorted(taken)


def main() -> None:
    """Measure and print."""
    begun = time.perf_counter()
    book = parse("all.toml", all_examples())
    took = 1000 * (time.perf_counter() - begun)
    print(f"{len(book.rules)} rules compiled in {took:.0f} ms, the import of CEL included")
    policies = {
        "rules alone": RulesPolicy(book),
        "rules around slo": Guarded(SloFormulaPolicy(), RulesGuard(book)),
        "slo without rules": SloFormulaPolicy(),
    }
    for name, policy in policies.items():
        taken = measure(policy)
        print(f"{name}: median {statistics.median(taken):.0f} us, p99 {taken[int(0.99 * DECISIONS)]:.0f} us")


if __name__ == "__main__":
    main()
