"""Trees by content: the store, scanning, capturing what a step changed, comparing, merging and applying trees."""
