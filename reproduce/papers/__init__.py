"""One module a paper: its arms, panels, profiles and claims."""
