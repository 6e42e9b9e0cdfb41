"""Labelling configs of Label Studio projects, instructions for annotators, predictions and references.

`labelconfig.read(name)` and `labelconfig.instructions(xml)` read them. docs/reference/labelling-configs.md lists every
name and the results that pre-fill it.
"""
