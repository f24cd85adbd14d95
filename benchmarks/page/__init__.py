"""The page of all figures: first table, sections, drawings, plots, promises of the libraries."""
