"""`mnrun sweep`: a list or a grid of options as separate runs, each a command of its own."""
