"""Readers of settlement reports and bank statements: one file for each format, one model for all of them.

A reader takes the bytes of a report and returns its statements. It raises StatementUnreadable if the report as a whole cannot be
read; a row that cannot be read is returned as one.
"""
