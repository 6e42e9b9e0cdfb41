"""The labelling configs Label Studio projects are made from, and the written instructions for annotators.

`configs.read(name)` and `configs.instructions(xml)` read them; README.md lists every name and the results that pre-fill
it.
"""
