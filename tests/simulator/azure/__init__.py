"""Tests of the virtual ARM."""
