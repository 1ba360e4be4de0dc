"""The same policies in virtual time. Pure: uploads come in, costs and late shares go out."""
