"""What can be added to any similarity and loss."""
