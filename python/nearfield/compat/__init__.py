"""Other libraries' interfaces on top of nearfield: `from nearfield.compat import natten`. They need torch."""
