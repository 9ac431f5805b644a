"""Trainings of the user's own, under Paceline's clock."""
