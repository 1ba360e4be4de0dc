"""The default policy, `slo`, its rule (`staffing.py`), and the closed form, `slo_formula`."""
