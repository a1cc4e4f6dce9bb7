"""Contracts: what every choice of a kind keeps, as pytest classes for its author to subclass (docs/add-your-own.md)."""
