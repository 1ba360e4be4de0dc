"""The laboratory: everything that judges policies in virtual time. It imports no loop and prints nothing."""
