"""What a node says of itself and of packets, as plain facts for people and for programs."""
