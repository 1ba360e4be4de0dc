"""Where bytes go: a folder, a bucket; each keeps `protocol.Store`."""
