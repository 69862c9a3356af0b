// The rows of docs/api.md's tables, for tests that break the rules in them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace nearfield::test {

class DocumentedRules {
 public:
  DocumentedRules() {
    const std::filesystem::path page = std::filesystem::path(__FILE__).parent_path() / "../../docs/api.md";
    std::ostringstream text;
    text << std::ifstream(page).rdbuf();
    text_ = text.str();
    EXPECT_FALSE(text_.empty()) << page;
  }
  // A row below those found before has this message.
  void expect_next(const std::string& message) {
    const std::string cell = "| `" + message + "` |";
    const size_t row = text_.find(cell, from_);
    EXPECT_NE(row, std::string::npos) << "docs/api.md lacks, after the rows before:\n" << cell;
    if (row != std::string::npos) from_ = row + 1;
  }

 private:
  std::string text_;
  size_t from_ = 0;
};

}  // namespace nearfield::test
