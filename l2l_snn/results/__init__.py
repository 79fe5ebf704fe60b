"""What is read from the store: tables, comparisons, pictures, exports."""
