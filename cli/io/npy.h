// The .npy format: magic, version, the length of a header, the header (a Python dict with the keys 'descr',
// 'fortran_order' and 'shape'), the elements. Source: NumPy's numpy/lib/format.py.
//
// Read: versions 1.0, 2.0 and 3.0; float64, float32, float16 of either byte order, bool, and bfloat16 as ml_dtypes
// writes it ('<V2'); C and Fortran order (a strided view). Written: version 1.0, or 2.0 for a header beyond 64 KiB,
// little-endian, Fortran order where that is how the tensor lies.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "io/input.h"
#include "io/tensor.h"
#include "io/tensor_file.h"

namespace nearfield::cli {

struct NpyHeader {
  nf_dtype dtype = NF_FLOAT32;
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<int64_t> sizes;
};

// The dict. `label` is the file, for errors.
NpyHeader parse_npy_header(std::string_view text, std::string_view label);

// From the magic to the last byte of the input, which must be the last element's.
OwnedTensor read_npy(Input& input);
void write_npy(const OwnedTensor& tensor, const Sink& sink);

std::unique_ptr<TensorFile> open_npy(std::unique_ptr<SeekableInput> input);

}  // namespace nearfield::cli
