"""An analysis whose package does not even import."""

raise ImportError("a library that is not there")
