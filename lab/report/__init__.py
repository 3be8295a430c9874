"""The report of scenario runs: from the result, and from nothing else, to one self-contained HTML file."""
