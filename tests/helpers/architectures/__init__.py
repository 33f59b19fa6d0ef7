"""Network families of the real world, written small: one file each, full size by width and depth."""
