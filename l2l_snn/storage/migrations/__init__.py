"""The tables (schema.py) and the steps that lead to them (versions/, run by alembic through `database.upgrade`).

A change of the tables is one new file in versions/, the same change in schema.py, and its number as `VERSION`
there; a test compares what the migrations make with what schema.py says.
"""
