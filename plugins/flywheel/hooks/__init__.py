"""The only places that talk to AWS."""
