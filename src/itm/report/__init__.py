"""The report: what was compared, with which result, and how to make it again, as one HTML page and its twin."""
