"""How calls went: reports of the phone system, checked, merged by field, and read from files."""
