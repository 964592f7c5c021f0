"""The programs that dev/ runs: built, fetched or installed."""
