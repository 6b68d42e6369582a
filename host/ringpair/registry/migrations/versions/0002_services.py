"""Services of this host as a controller, and the devices that they are bound to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "services",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("seed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
    )
    op.create_table(
        "bindings",
        sa.Column("service_id", sa.String(16), sa.ForeignKey("services.id"), primary_key=True),
        sa.Column("device_id", sa.String(16), primary_key=True),
        sa.Column("device_key", sa.LargeBinary, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("bound_at", sa.String(32), nullable=False),
    )
