"""The checker: a process of its own, without privilege, that asks backends and local services whether they are well."""
