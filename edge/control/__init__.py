"""The control socket: who asks, who answers, and the orders that an operator gives over it."""
