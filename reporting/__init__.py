"""The report: what a run found in each video, as one HTML file that needs nothing but a browser."""
