"""`python -m lab.bench`."""

from lab.cli.bench import bench

bench()
