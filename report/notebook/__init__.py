"""HTML for the cells of a notebook (Jupyter, Colab, VS Code): the progress of a training, its result, whole pages."""
