"""Commands that move data: publish, upload, dead."""
