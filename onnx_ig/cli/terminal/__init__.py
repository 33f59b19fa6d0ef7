"""What commands print, how they end, and in whose words."""
