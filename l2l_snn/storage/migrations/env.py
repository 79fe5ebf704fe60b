"""What alembic runs to migrate: on the connection that `upgrade` hands over, inside its transaction."""

from alembic import context

from l2l_snn.storage.schema import METADATA, VERSION_TABLE

if "config" in vars(context):  # only while alembic runs this file; importing it does nothing
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=METADATA,
        version_table=VERSION_TABLE,
    )
    with context.begin_transaction():
        context.run_migrations()
