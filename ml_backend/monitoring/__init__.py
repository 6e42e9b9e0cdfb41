"""What /metrics says about work, learning and this machine: plain values, read through indexes."""
