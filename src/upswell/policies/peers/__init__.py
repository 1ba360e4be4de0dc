"""How other autoscalers decide, for comparison."""
