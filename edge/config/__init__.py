"""fairhop.yaml, from its text to frozen values: a module for each part of the file and for each kind of rule."""
