"""What several tests share: models, doors, data, other processes."""
