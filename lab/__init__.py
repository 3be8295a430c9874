"""The lab: topologies, their two runtimes, traffic with a ledger, what routers hold, and the verdict."""
