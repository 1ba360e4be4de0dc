"""Arrival processes and sizes, shared by the publisher, the demo and the simulator. Pure."""
