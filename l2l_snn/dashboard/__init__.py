"""The live web page over a results store: `l2l dashboard`.

    l2l dashboard --store sqlite:///l2l.db            # look; http://127.0.0.1:8710
    l2l dashboard --control --jobs jobs               # also start, stop and resume runs

`app` joins the parts: `security` (who may ask), `read_api` (JSON of what is stored), `replay_api` and `control_api`
(what starts processes), `pages` (HTML shells that static/*.js fill from the JSON). SQL is in `read_runs` (runs, curves,
cloud), `read_table` (the table of individuals) and `read_individual`; each query reads a bounded number of rows.
"""
