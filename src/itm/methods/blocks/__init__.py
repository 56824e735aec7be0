"""Parts that methods share: heads, losses, order terms, relevance."""
