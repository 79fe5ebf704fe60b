"""The pictures for understanding a run by name, without what draws them: the command line and the page list these."""

QUESTIONS = {  # kind -> what its picture answers; results/insight.py has a function for each
    "importance": "Which parameters does the fitness depend on?",
    "parallel": "What do good individuals have in common?",
    "slices": "How does the fitness change with a parameter?",
    "contour": "How does the fitness change with two parameters at once?",
    "correlation": "Which metrics go with the fitness?",
    "front": "What trades off between objectives, and does the front still grow?",
    "archive": "Which kinds of good individuals are there? (MAP-Elites)",
    "timeline": "Which worker waited for the others?",
}
