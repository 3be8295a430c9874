"""Configuration text, strictly: YAML with places, decoding into models with every error, scalar types."""
