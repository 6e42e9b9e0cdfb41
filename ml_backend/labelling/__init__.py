"""The labelling configs Label Studio projects are made from, and the written instructions for annotators.

`labelconfig.read(name)` and `labelconfig.instructions(xml)` read them. docs/reference/labelling-configs.md lists every
name and the results that pre-fill it.
"""
