"""The announcer's times: from an event at an edge node to the route in a router's kernel, over many repetitions."""
