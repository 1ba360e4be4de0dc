"""Commands that show the current state: status, explain, doctor, config."""
