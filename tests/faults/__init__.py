"""The rig that breaks things on purpose, and the proof that nothing is lost: `make faults`, `make faults-full`."""
