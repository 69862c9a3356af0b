// The .safetensors format: the length of a header in 8 bytes, the header as JSON ({name: {"dtype", "shape",
// "data_offsets": [begin, end)}}, and "__metadata__", a map of strings, which is ignored), the elements, row-major and
// little-endian. Source: https://github.com/huggingface/safetensors, whose rules hold: no name twice, and the tensors'
// bytes cover the data without holes or overlap.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/input.h"
#include "io/tensor.h"
#include "io/tensor_file.h"

namespace nearfield::cli {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as the file spells it; nearfield knows F64, F32, BF16, F16 and BOOL
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes, relative to the end of the header
};

// The header's JSON, checked for its form only. `label` is the file, for errors.
std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view json, std::string_view label);

std::unique_ptr<TensorFile> open_safetensors(std::unique_ptr<SeekableInput> input);
// std::invalid_argument if a name is not UTF-8 or reserved.
void write_safetensors(const TensorMap& tensors, const Sink& sink);

}  // namespace nearfield::cli
