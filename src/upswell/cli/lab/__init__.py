"""Commands that judge policies in virtual time: compare, simulate, replay."""
