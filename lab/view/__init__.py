"""The live page of a running lab: samples in, rates and states out, and a small web server on loopback."""
