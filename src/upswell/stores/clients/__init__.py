"""Clients of other people's servers: the only importers of obstore, botocore and the HTTP client."""
