"""ESL: pyramids of mixed dimensions, compared level by level (docs/esl.md)."""
