"""How the server sends alerts: to where, in which words, and when."""
