"""The Alembic scripts of the log's tables, inside the package so that every installation has them."""
