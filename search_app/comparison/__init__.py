"""Two indexes of one collection side by side: how far apart what they find is."""
