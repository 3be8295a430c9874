"""From decisions to routers: the attributes of each stance, router kits, and the processes beside ExaBGP."""
