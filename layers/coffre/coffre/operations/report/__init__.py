"""The report of a week, a month or a year: read, shown as a page, sent as a mail."""
