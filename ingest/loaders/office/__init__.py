"""Documents of office programs: Word, PowerPoint, Excel, OpenDocument, old and new."""
