"""The language: text in, checked syntax tree out."""
