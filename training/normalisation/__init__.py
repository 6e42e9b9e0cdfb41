"""The four ways a text is read before it is compared: plain tables and pure functions."""
