"""The same policies in virtual time. Pure: arrivals and service times come in, what it cost and what was late goes out."""
