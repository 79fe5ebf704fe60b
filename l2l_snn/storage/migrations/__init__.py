"""The steps that lead to the tables of storage/schema.py: versions/, run by alembic through `database.upgrade`.

A change of the tables is one new file in versions/, the same change in storage/schema.py, and its number as
`VERSION` there; a test compares what the migrations make with what that file says.
"""
