"""Everything that judges policies in virtual time. It imports no loop."""
