"""How things look, whatever they are: figures, times, tables, plots, pages; what a terminal can take."""
