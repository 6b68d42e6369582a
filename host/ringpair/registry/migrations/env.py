"""Alembic's entry: runs the migrations on the file that :mod:`ringpair.registry.migrate` names, in one transaction."""

from alembic import context

from ringpair.registry.database import open_engine
from ringpair.registry.models import Base

with open_engine(context.config.attributes["path"]).connect() as connection:
    context.configure(connection, target_metadata=Base.metadata, transactional_ddl=True, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
