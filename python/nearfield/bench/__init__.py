"""What `python -m nearfield bench` measures: each module one comparison with torch, in one run."""
