"""What restrains any policy."""
