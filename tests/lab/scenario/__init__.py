"""Tests of scenarios: language, verdict, engine, reports."""
