"""Reading and writing: files replaced whole, tensors with JSON, rows in blocks, shards, items and media."""
