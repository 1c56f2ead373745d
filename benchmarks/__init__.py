"""Speed, as ratios taken side by side in one run: `make bench`, or `python -m benchmarks [NAME …]`. Never part of the tests."""
