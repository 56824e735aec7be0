"""Words, their document frequencies, and how descriptive a caption is. numpy and Arrow only."""
