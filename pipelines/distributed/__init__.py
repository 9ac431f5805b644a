"""The process group, failure reporting and all-reduce measurements."""
