/* A plain C99 program: neighborhood attention over four tokens, checked against numbers computed by hand.
 *
 * Windows of three, one channel, query 1, key ln(w) with w = 1 2 3 4: the weights of a window are w itself. Queries 0
 * and 1 see tokens 0 1 2, queries 2 and 3 see 1 2 3. Exit status 0: all is right. */
#include <nearfield/nearfield.h>
#include <stdio.h>
#include <string.h>

static nf_tensor row_of_four(double* data) {
  nf_tensor tensor = {0};
  tensor.data = data;
  tensor.dtype = NF_FLOAT64;
  tensor.rank = 4; /* (batch, x, heads, head_dim) */
  tensor.sizes[0] = 1, tensor.sizes[1] = 4, tensor.sizes[2] = 1, tensor.sizes[3] = 1;
  tensor.strides[0] = 4, tensor.strides[1] = 1, tensor.strides[2] = 1, tensor.strides[3] = 1;
  return tensor;
}

int main(void) {
  double query[4] = {1, 1, 1, 1}, value[4] = {6, 0, 3, 9}, out[4] = {-1, -1, -1, -1};
  double key[4] = {0, 0.69314718055994531, 1.0986122886681098, 1.3862943611198906};
  const double expected[4] = {2.5, 2.5, 5, 5};
  const int64_t window = 3;
  const nf_tensor q = row_of_four(query), k = row_of_four(key), v = row_of_four(value), o = row_of_four(out);
  nf_neighborhood pattern = nf_make_neighborhood(1, &window);
  nf_options options = nf_default_options();
  int i, wrong = 0;

  options.engine = NF_ENGINE_REFERENCE;
  if (nf_forward(&pattern.pattern, &q, &k, &v, NULL, &options, &o, NULL) != NF_OK) {
    fprintf(stderr, "nf_forward: %s\n", nf_last_error());
    return 1;
  }
  for (i = 0; i < 4; ++i) {
    const double error = out[i] - expected[i];
    if (!(error >= -1e-14 && error <= 1e-14)) {
      fprintf(stderr, "out[%d] = %.17g: must be %g\n", i, out[i], expected[i]);
      wrong = 1;
    }
  }

  pattern.kernel_size[0] = 0;
  if (nf_forward(&pattern.pattern, &q, &k, &v, NULL, &options, &o, NULL) != NF_INVALID_ARGUMENT ||
      strcmp(nf_last_error(), "kernel_size[0]=0: must be at least 1") != 0) {
    fprintf(stderr, "kernel_size 0: unexpected answer \"%s\"\n", nf_last_error());
    wrong = 1;
  }
  printf("nearfield %s: %s\n", nf_version(), wrong ? "wrong" : "right");
  return wrong;
}
