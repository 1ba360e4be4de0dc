"""`python -m upswell` is the command `upswell`."""

from upswell.cli import main

main()
