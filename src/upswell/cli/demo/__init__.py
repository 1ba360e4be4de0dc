"""The command `upswell demo`."""
