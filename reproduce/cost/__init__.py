"""Parameters, FLOPs, memory, time and disk of runs; scales of the papers."""
