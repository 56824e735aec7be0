"""The report: results, their circumstances, and the way to make them again, as one HTML page and its twin."""
