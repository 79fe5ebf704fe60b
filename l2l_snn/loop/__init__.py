"""One experiment: the job, and the loop that asks, evaluates, tells and commits."""
