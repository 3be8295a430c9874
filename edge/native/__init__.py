"""What is too slow in Python, in C. Each has a twin in Python with the same results, for where no library is."""
