"""Who may do what: keys, scopes, principals and rates. Pure; the catalog keeps, the web asks."""
