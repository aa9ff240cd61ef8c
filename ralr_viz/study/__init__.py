"""Grids of runs: plan them, run them anywhere, and print the table with honest statistics."""
