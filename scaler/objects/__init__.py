"""The memory that the processes of one host share: what is large is written once and mapped."""
