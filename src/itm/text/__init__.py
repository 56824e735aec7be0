"""Words, their document frequencies, and the descriptiveness of captions. numpy and Arrow only."""
