"""History that outlives the window of a run: aggregated usage and people's decisions."""
