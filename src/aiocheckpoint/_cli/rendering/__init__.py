"""Words and lines for records that several commands show."""

__all__: list[str] = []
