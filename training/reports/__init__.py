"""A verdict as people read it: plain words, a page, a plot."""
