"""Where things are: the repository, its jobs, and what tests share, which processes that tests start import too."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "jobs"
HELPERS = Path(__file__).parent
