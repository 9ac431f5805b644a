"""The report: one page that works from disk. `data` chooses what it shows, `build` writes it, `pictures` prints it."""
