"""Workers as pods of a Kubernetes cluster: `fleet.py` is the fleet, `api.py` all that it asks the API server.

In: worker specs. Out: bare pods, each named as its worker. A reflector (`reflector.py`) follows them into a
cache (`cache.py`), from which `list` is answered: nothing is polled.
"""
