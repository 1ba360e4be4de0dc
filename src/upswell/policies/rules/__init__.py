"""Rules of the user's own, read from a TOML file with conditions in CEL."""
