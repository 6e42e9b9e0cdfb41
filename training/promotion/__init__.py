"""Evaluation -> promoted or refused: the gate, its judgement, and the latency comparison."""
