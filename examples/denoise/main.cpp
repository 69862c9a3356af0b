// nearfield_denoise INPUT.png OUTPUT_DIR: adds noise to a photograph, removes it again by non-local means on
// nearfield, and shows what happened in numbers and pictures. README.md explains both.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "image_io.h"
#include "nonlocal_means.h"
#include "picture.h"

namespace {

using denoise::Filtered;
using denoise::Image;
using denoise::Settings;

struct Arguments {
  std::string input, output_dir;
  double sigma = 0.08;
  double h = 0;  // 0: 0.85 sigma
  uint64_t seed = 1;
  bool no_noise = false;
  std::vector<int32_t> threads = {0};  // one timed run each; 0: all cores
  int repeat = 1;
  std::vector<int64_t> query;
  nf_engine engine = NF_ENGINE_AUTO;
};

struct Run {
  int threads = 0;
  double seconds = 0, attention_seconds = 0;  // medians
};

void declare(CLI::App& app, Arguments& arguments) {
  app.add_option("input", arguments.input, "PNG file")->required()->option_text("INPUT.png");
  app.add_option("output_dir", arguments.output_dir, "where the pictures go; made if missing")
      ->required()
      ->option_text("OUTPUT_DIR");
  app.add_option("--sigma", arguments.sigma, "standard deviation of the noise; the image's range is 0 to 1")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--h", arguments.h, "filtering strength (default: 0.85 sigma)")->check(CLI::Range(1e-3, 10.0));
  app.add_option("--seed", arguments.seed, "of the noise")->capture_default_str();
  app.add_flag("--no-noise", arguments.no_noise, "the input is noisy already: add none");
  app.add_option("--threads", arguments.threads, "a run for each of these numbers of threads; 0: all cores")
      ->delimiter(',')
      ->check(CLI::Range(0, 4096))
      ->option_text("N,...");
  app.add_option("--repeat", arguments.repeat, "time each run this many times and take the median")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--query", arguments.query, "the pixel whose weights are drawn (default: one on an edge)")
      ->delimiter(',')
      ->expected(2)
      ->option_text("Y,X");
  app.add_option("--engine", arguments.engine, "which of the library's engines computes")
      ->transform(CLI::CheckedTransformer(std::vector<std::pair<std::string, nf_engine>>{
          {"auto", NF_ENGINE_AUTO}, {"cpu", NF_ENGINE_CPU}, {"reference", NF_ENGINE_REFERENCE}}))
      ->option_text("auto|cpu|reference");
}

void make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw denoise::FileError(path, "cannot make this directory: " + error.message());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Times one number of threads; `last` is the result.
Run time_threads(const Image& noisy, Settings settings, int32_t threads, int repeat, Filtered& last) {
  settings.options.num_threads = threads;
  std::vector<double> seconds, attention_seconds;
  for (int i = 0; i < repeat; ++i) {
    last = Filtered();  // gives its memory back before the next one is made
    last = denoise::nonlocal_means(noisy, settings);
    seconds.push_back(last.seconds);
    attention_seconds.push_back(last.attention_seconds);
  }
  return {threads == 0 ? nf_default_num_threads() : threads, median(seconds), median(attention_seconds)};
}

std::vector<Run> run_all(const Image& noisy, const Settings& settings, const Arguments& arguments, Filtered& result) {
  const double flops = denoise::count_flops(noisy);
  std::vector<Run> runs;
  std::vector<float> first;
  for (int32_t threads : arguments.threads) {
    const Run run = time_threads(noisy, settings, threads, arguments.repeat, result);
    std::printf("  %d thread%s: %.2f s in all, attention %.2f s = %.1f GFLOP/s\n", run.threads,
                run.threads == 1 ? "" : "s", run.seconds, run.attention_seconds, flops / run.attention_seconds / 1e9);
    std::fflush(stdout);
    if (runs.empty())
      first = result.image.pixels;
    else if (first != result.image.pixels)
      throw std::runtime_error("results differ between numbers of threads: the library promises the same bits");
    runs.push_back(run);
  }
  return runs;
}

void print_problem(const Image& image, const Settings& settings) {
  const nf_explanation explanation = denoise::explain(image, settings);
  std::printf("  attention: %.1f million pairs, head_dim %d, head_dim_v %d, window %dx%d, %.1f GFLOP\n",
              static_cast<double>(denoise::count_pairs(image)) / 1e6,
              static_cast<int>(denoise::kPatchSize * denoise::kPatchSize * image.channels + 1),
              static_cast<int>(image.channels), static_cast<int>(denoise::kWindow), static_cast<int>(denoise::kWindow),
              denoise::count_flops(image) / 1e9);
  std::printf("  engine: %s\n", explanation.reason);
}

// For compare.py: NaN where there is no original to compare with.
void write_results(const std::string& path, const Arguments& arguments, const Settings& settings, const Image& image,
                   const std::vector<Run>& runs) {
  std::string text = "{\"sigma\": " + std::to_string(settings.sigma) + ", \"h\": " + std::to_string(settings.h) +
                     ", \"noise_added\": " + (arguments.no_noise ? "false" : "true") +
                     ", \"patch_size\": " + std::to_string(denoise::kPatchSize) +
                     ", \"patch_distance\": " + std::to_string(denoise::kSearchRadius) + ", \"runs\": [";
  for (const Run& run : runs) {
    if (&run != &runs.front()) text += ", ";
    text += "{\"threads\": " + std::to_string(run.threads) + ", \"seconds\": " + std::to_string(run.seconds) +
            ", \"gflops\": " + std::to_string(denoise::count_flops(image) / run.attention_seconds / 1e9) + "}";
  }
  text += "]}\n";
  denoise::write_text(path, text);
}

std::string with_psnr(const char* name, const Image& image, const Image& original) {
  char text[80];
  std::snprintf(text, sizeof text, "%s: %.2f dB", name, denoise::psnr(image, original));
  return text;
}

void write_pictures(const Arguments& arguments, const Settings& settings, const Image& original, const Image& noisy,
                    const Filtered& result) {
  const std::string& dir = arguments.output_dir;
  const denoise::Pixel query = arguments.query.empty() ? denoise::interesting_query(result, settings)
                                                       : denoise::Pixel{arguments.query[0], arguments.query[1]};
  denoise::write_png(dir + "/noisy.png", noisy);
  denoise::write_png(dir + "/denoised.png", result.image);
  denoise::write_npy(dir + "/noisy.npy", noisy);
  denoise::write_npy(dir + "/denoised.npy", result.image);
  denoise::write_png(
      dir + "/attention.png",
      denoise::draw_attention(noisy, result.image, denoise::window_weights(result, settings, query), query));
  std::vector<denoise::Captioned> columns;
  if (arguments.no_noise) {
    columns = {{"input", &noisy}, {"denoised", &result.image}};
  } else {
    denoise::write_npy(dir + "/original.npy", original);
    columns = {{with_psnr("noisy", noisy, original), &noisy},
               {with_psnr("denoised", result.image, original), &result.image},
               {"original", &original}};
  }
  denoise::write_png(dir + "/comparison.png", denoise::draw_comparison(columns, query));
}

void run(const Arguments& arguments) {
  const Image original = denoise::read_png(arguments.input);
  make_directory(arguments.output_dir);
  Settings settings;
  settings.sigma = arguments.sigma;
  settings.h = arguments.h > 0 ? arguments.h : 0.85 * arguments.sigma;
  settings.options.engine = arguments.engine;
  Image noisy = original;
  if (!arguments.no_noise) denoise::add_noise(noisy, arguments.sigma, arguments.seed);

  std::printf("%s: %d x %d pixels, %d channels; noise sigma %.3g, h %.3g\n", arguments.input.c_str(),
              static_cast<int>(original.width), static_cast<int>(original.height), static_cast<int>(original.channels),
              settings.sigma, settings.h);
  print_problem(noisy, settings);
  if (!arguments.query.empty()) denoise::check_query(noisy, {arguments.query[0], arguments.query[1]});
  Filtered result;
  const std::vector<Run> runs = run_all(noisy, settings, arguments, result);
  if (!arguments.no_noise)
    std::printf("  PSNR: noisy %.2f dB, denoised %.2f dB\n", denoise::psnr(noisy, original),
                denoise::psnr(result.image, original));
  write_pictures(arguments, settings, original, noisy, result);
  write_results(arguments.output_dir + "/results.json", arguments, settings, noisy, runs);
  std::printf("  wrote noisy.png denoised.png comparison.png attention.png and .npy files to %s\n",
              arguments.output_dir.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Non-local means denoising as neighborhood attention");
  Arguments arguments;
  declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  try {
    run(arguments);
    return 0;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "nearfield_denoise: out of memory: queries and keys need about 600 bytes per pixel\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nearfield_denoise: %s\n", error.what());
  }
  return 1;
}
