"""Timings of the library beside its peers. Run `python -m benchmarks`."""
