"""Facts and checksums of protocols that several formats share, or that would make one of them long."""
