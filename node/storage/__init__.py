"""What survives a crash: files and the write-ahead log in them."""
