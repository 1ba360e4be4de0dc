"""Chaos: Upswell's own commands under faults, counted from outside. Nothing here imports `upswell`.

A harness that used the code under test would share its errors: what it takes for stored, for dead or for
running would be what that code believes. So this one knows the commands, the wire (AMQP and JSON), the
processes (`/proc`) and the files that must be there at the end, and nothing else.
"""
