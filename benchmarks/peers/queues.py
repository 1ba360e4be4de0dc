"""One M/M/c queue in SimPy and in Ciw, as their own tutorials write it: rates in, mean waiting time out."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import ciw
import simpy

if TYPE_CHECKING:
    from collections.abc import Iterator


def with_simpy(uploads: int, arrival_rate: float, service_rate: float, servers: int, seed: int) -> float:
    """Return the mean waiting time of one run."""
    environment = simpy.Environment()
    slots = simpy.Resource(environment, capacity=servers)
    rng = random.Random(seed)
    waited = 0.0

    def upload() -> Iterator[simpy.Event]:
        nonlocal waited
        arrived = environment.now
        with slots.request() as slot:
            yield slot
            waited += environment.now - arrived
            yield environment.timeout(rng.expovariate(service_rate))

    def traffic() -> Iterator[simpy.Event]:
        for _ in range(uploads):
            yield environment.timeout(rng.expovariate(arrival_rate))
            environment.process(upload())

    environment.process(traffic())
    environment.run()
    return waited / uploads


def with_ciw(uploads: int, arrival_rate: float, service_rate: float, servers: int, seed: int) -> float:
    """Return the mean waiting time of one run."""
    ciw.seed(seed)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=arrival_rate)],
        service_distributions=[ciw.dists.Exponential(rate=service_rate)],
        number_of_servers=[servers],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(uploads, method="Finish")
    waits = [record.waiting_time for record in simulation.get_all_records()]
    return sum(waits) / len(waits)
