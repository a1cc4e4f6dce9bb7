"""The templates of all HTML pages, their style and their script; `report.document` fills them in."""
