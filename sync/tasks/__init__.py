"""Selects recordings for tasks, orders them, and brings tasks and predictions to Label Studio."""
