"""Where bytes come from: files, web servers, objects; each keeps `protocol.OpenSource`."""
