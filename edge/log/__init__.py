"""What is told of transitions: the events, how often they may be written, and a sink that blocks nobody."""
