"""The commands of `latte`, one file each."""
