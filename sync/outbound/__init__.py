"""Requests to other services, and to addresses that come from outside."""
