"""Writing attribution models: tried out before anybody is told that they are written."""
