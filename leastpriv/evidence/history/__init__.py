"""What outlives the window of a run: aggregates of usage and the word of people, kept beside the code."""
