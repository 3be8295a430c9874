"""The backend's side of an edge: takes the tunnels, holds the VIPs, answers the echo service."""
