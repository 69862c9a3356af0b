/* nearfield's simulator: what nf_simulate finds. Part of the C ABI; nearfield.h includes it.
 *
 * How much faster than dense attention a pattern can be with tiles of a given shape (Hassani et al., "Generalized
 * Neighborhood Attention", 2025): what is visited, counted, never timed. Of one (batch, head); counts are exact up to
 * 2^53. */
#ifndef NEARFIELD_SIMULATION_H
#define NEARFIELD_SIMULATION_H

#include <stddef.h>

/* What all tiles of queries visit, in units of key tiles or of steps. */
typedef struct nf_visits {
  double units, keys, pairs;                   /* that are visited; keys, and (query, key) pairs, that the units hold */
  double dense_units, dense_keys, dense_pairs; /* the same of dense attention with such tiles */
  double most_units, most_keys;                /* of one tile of queries */
  double full_units, masked_units;             /* that all queries of the tile see whole, and the others */
  double waste;                                /* pairs / useful_pairs */
  double worst_bound;                          /* of the speed-up if every tile took as long as the longest */
  double mean_bound;                           /* if the tiles' work is shared out evenly */
  double seconds, dense_seconds;               /* predicted; 0 without rates */
} nf_visits;

typedef struct nf_simulation {
  size_t struct_size;
  double query_tiles, dense_query_tiles; /* dilation and shifts may need more tiles than dense attention has */
  double useful_pairs, dense_pairs;      /* (query, key) pairs: that are asked for, and all */
  double ideal_bound;                    /* dense_pairs / useful_pairs: the speed-up that the sparsity promises */
  nf_visits key_tiles; /* keys in a fixed tiling; a tile counts whole (bounds: units). Block-sparse kernels, and the
                        * paper's own simulator */
  nf_visits steps;     /* of this library's plans: from a tile's first key on, in pieces that cost what they hold
                        * (bounds: keys) */
} nf_simulation;

/* Seconds on one thread, for one tile of queries: one key, what a mask adds to it, starting a key tile or step, and
 * starting and ending a tile. All finite and at least 0. */
typedef struct nf_rates {
  double per_key, per_masked_key, per_step, per_tile;
} nf_rates;

#endif /* NEARFIELD_SIMULATION_H */
