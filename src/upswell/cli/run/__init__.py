"""Commands that keep running: worker, monitor, scaler, and all in one."""
