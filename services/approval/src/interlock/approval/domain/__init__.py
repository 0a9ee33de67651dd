"""Pure parts: what is in the feed, who wants to see it, where a reader stands, who may decide."""
