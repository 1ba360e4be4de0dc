"""Long-running commands: worker, monitor, scaler, and all in one."""
