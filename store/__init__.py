"""The memory: an append-only event log on SQLAlchemy Core, and in memory for simulations."""
