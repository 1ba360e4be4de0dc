"""Where bytes come from and go to: sources below allowed roots, and a directory as the store."""
