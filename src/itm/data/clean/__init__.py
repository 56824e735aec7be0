"""Cleaning: normalise every caption, reject bad training rows with a reason, verify and pack every image."""
