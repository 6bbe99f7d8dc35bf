"""REST, the live feed and the dashboard of a node; docs/api.md is the contract."""
