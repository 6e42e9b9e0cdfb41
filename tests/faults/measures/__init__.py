"""What `make faults-full` measures, in numbers and times."""
