"""Commands that show how things are: status, explain, doctor, config."""
