"""The page of all figures: drawings, sections, plots, and the promises of the libraries."""
