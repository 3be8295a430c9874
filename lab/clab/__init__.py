"""The lab on containerlab and Docker."""
