"""Other libraries' interfaces on top of nearfield: `from nearfield.compat import natten, torch_harmonics`. They need torch."""
