"""Small analyses that tests and benchmarks of the platform run."""
