"""What an arrival process and its uploads look like: instants, sizes, requests. Pure: no I/O, no clock.

`arrivals.py` says when, `sizes.py` how large, `requests.py` turns an entry of a request file into an
UploadRequest, `keys.py` names its object. The publisher, the worker, the demo and the simulator share them.
"""
