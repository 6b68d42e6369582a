"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "vault",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("registry_id", sa.String(32), nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("cost", sa.Integer, nullable=False),
        sa.Column("sealed_key", sa.LargeBinary, nullable=False),
        sa.Column("check_value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("wrap_index", sa.Integer, nullable=False),
        sa.Column("wrap_key", sa.LargeBinary),
        sa.Column("enrolled_at", sa.String(32), nullable=False),
        sa.Column("gateware", sa.String(16), nullable=False),
        sa.Column("floorplan", sa.String(16), nullable=False),
        sa.Column("layout_version", sa.Integer, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
    )
    op.create_table(
        "pairings",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("low_id", sa.String(16), sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("high_id", sa.String(16), sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("revoked_at", sa.String(32)),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("recipient_id", sa.String(16), sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("peer_id", sa.String(16)),
        sa.Column("wrap_index", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("delivered_at", sa.String(32)),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.UniqueConstraint("recipient_id", "wrap_index"),
    )
    op.create_table(
        "log",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("detail", sa.String, nullable=False),
    )
