"""Router kits: what the routers that fairhop's edges speak to should be told, as FRR, BIRD and GoBGP configuration."""
