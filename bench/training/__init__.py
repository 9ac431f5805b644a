"""What trains and records the trials of a run, and shows how they go."""
