"""Settings of every test process, made before numpy or torch are imported."""

import os

# Test processes share the cores, so each may use only one.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"
