"""What ``weir db`` does to a database: upgrade, compact, check, eject."""
