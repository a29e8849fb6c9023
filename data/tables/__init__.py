"""Readers of tables: encoding, dialect, cells."""
