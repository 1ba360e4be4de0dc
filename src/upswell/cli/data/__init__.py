"""Commands that move data: publish, upload, and what was dead-lettered."""
