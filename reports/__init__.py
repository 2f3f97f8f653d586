"""Reports: a saved run -> one HTML page, JUnit XML, a Parquet table.

Nothing is imported here: pandas takes its time, and only who makes a report shall pay for it.
"""
