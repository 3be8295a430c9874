"""The main job: its steps as data, its convergence, its run and its report."""
