"""Data sets for supervised learning: which there are, how they are got, read and made; see `sets.py`."""
