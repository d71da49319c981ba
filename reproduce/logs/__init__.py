"""PASS@(k,T) and comparisons on a user's own logs.

A reader a format (`plain_tables`, `lm_evaluation_harness`, `inspect_ai`, `verifiers`, `instance_logs`) makes a `Log`;
`scores` says what a score means, `settings` which policy a log is of, and `merging` counts every episode once. None of
those programs has to be installed, and nothing that a log says is carried out.
"""
