"""The tests' Python, run from the repository's root as `python -m tests...`. Without this file an installed package of
the same name would be taken."""
