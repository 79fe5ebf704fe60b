"""Runs elsewhere: jobs of a Ray cluster, what is packed for them, how they are followed."""
