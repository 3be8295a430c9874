"""What can be seen from outside: routers' kernels, flows towards edges, tunnels on the wire, honest links."""
