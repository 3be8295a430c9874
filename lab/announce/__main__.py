"""`python -m lab.announce`."""

from lab.cli.announce import announce

announce()
