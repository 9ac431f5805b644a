"""Records, and everything that is read from them. In a notebook, start with `paceline.load()`."""
