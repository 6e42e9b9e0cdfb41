"""Erasure, retention and consent."""
