"""Measures track beside its peers. `main` has the command line, the other modules a part of the work each."""
