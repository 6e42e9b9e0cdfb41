"""Calls and recordings from Exotel: messages, listing, look-ups, downloads."""
