"""A command that measures: what a step of every learner takes on this machine, and what it launches. It may import all of the project."""
