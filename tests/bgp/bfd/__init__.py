"""BFD: the cores by rule and by chance, the process against FRR's bfdd and BIRD, and an hour under load."""
