"""Episode logs of other programs, read into counts of episodes and successes.

One file a format: `plain_tables` (CSV, JSONL, Parquet), `lm_evaluation_harness`, `inspect_ai` and `verifiers`. Each
gives `CountRows`; `merging` puts those of all files into one `EpisodeCounts`. None of those programs has to be
installed, and nothing that a log says is carried out.
"""
