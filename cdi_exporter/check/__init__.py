"""`check`: whether each workspace's key works, what it may read, and what watching it takes."""
