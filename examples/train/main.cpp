// nearfield_train TRAIN.png OTHER.png... --out DIR: learns, on one photograph, how non-local means should compare
// patches, and shows on others what that is worth. README.md explains the model and the pictures.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "canvas.h"
#include "denoiser.h"
#include "image_io.h"
#include "nonlocal_means.h"
#include "picture.h"
#include "random.h"
#include "trainer.h"

namespace {

using denoise::Image;

struct Arguments {
  std::string photograph, output_dir;
  std::vector<std::string> others;
  train::TrainingPlan plan;
  int32_t threads = 0;
};

// A photograph, what is seen of it, and what the plain filter makes of that.
struct Sample {
  std::string name;
  Image clean, noisy, plain;
  double h = 0;            // with which the plain filter does best on it
  denoise::Pixel focus{};  // for the picture
};

void declare(CLI::App& app, Arguments& arguments) {
  app.add_option("photograph", arguments.photograph, "RGB PNG file to learn from")
      ->required()
      ->option_text("TRAIN.png");
  app.add_option("others", arguments.others, "RGB PNG files to score on; training never sees them")
      ->required()
      ->option_text("OTHER.png...");
  app.add_option("--out", arguments.output_dir, "where the pictures go; made if missing")
      ->required()
      ->option_text("DIR");
  app.add_option("--sigma", arguments.plan.sigma, "standard deviation of the noise; the image's range is 0 to 1")
      ->check(CLI::Range(1e-3, 1.0))
      ->capture_default_str();
  app.add_option("--steps", arguments.plan.steps, "of gradient descent")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--side", arguments.plan.side, "of the random pieces that steps look at, in pixels")
      ->check(CLI::Range(8, 4096))
      ->capture_default_str();
  app.add_option("--learning-rate", arguments.plan.learning_rate, "Adam's")
      ->check(CLI::Range(1e-6, 1.0))
      ->capture_default_str();
  app.add_option("--seed", arguments.plan.seed, "of all noise and all pieces")->capture_default_str();
  app.add_option("--threads", arguments.threads, "0: all cores")->check(CLI::Range(0, 4096));
}

void make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw denoise::FileError(path, "cannot make this directory: " + error.message());
}

// Plain non-local means with the strength that suits this very photograph best: what the learnt filter has to beat.
void filter_plainly(Sample& sample, double sigma, const nearfield::Options& options) {
  double best = -1;
  for (double factor = 0.65; factor < 1.08; factor += 0.05) {
    const denoise::Settings settings{factor * sigma, sigma, options};
    const denoise::Filtered filtered = denoise::nonlocal_means(sample.noisy, settings);
    const double quality = denoise::psnr(filtered.image, sample.clean);
    if (!(quality > best)) continue;
    best = quality;
    sample.h = settings.h;
    sample.plain = filtered.image;
    sample.focus = denoise::interesting_query(filtered, settings);
  }
}

Sample load(const std::string& path, const Arguments& arguments, uint64_t noise_seed) {
  Sample sample;
  sample.name = std::filesystem::path(path).stem().string();
  sample.clean = denoise::read_png(path);
  if (sample.clean.channels != train::kChannels) throw denoise::FileError(path, "must be a colour image");
  sample.noisy = sample.clean;
  denoise::add_noise(sample.noisy, arguments.plan.sigma, noise_seed);
  filter_plainly(sample, arguments.plan.sigma, arguments.plan.options);
  std::printf("  %-12s %4d x %-4d noisy %.2f dB, plain non-local means %.2f dB at its best h, %.2f sigma\n",
              sample.name.c_str(), static_cast<int>(sample.clean.width), static_cast<int>(sample.clean.height),
              denoise::psnr(sample.noisy, sample.clean), denoise::psnr(sample.plain, sample.clean),
              sample.h / arguments.plan.sigma);
  std::fflush(stdout);
  return sample;
}

struct Progress {
  int64_t step = 0, steps = 0;
  double loss = 0;     // running mean over the last steps' pieces, of which some are harder than others
  double quality = 0;  // PSNR of the middle of the photograph, the same all the time
  double seconds = 0;
};

// On a terminal one line that changes with every step; else one for each tenth of the steps.
void show(const Progress& now) {
  constexpr int64_t kBar = 30;
  const bool terminal = isatty(STDOUT_FILENO) != 0, last = now.step == now.steps;
  if (!terminal && !last && now.step * 10 / now.steps == (now.step - 1) * 10 / now.steps) return;
  const auto full = static_cast<size_t>(kBar * now.step / now.steps);
  std::printf("%s  [%s%s] %4d of %d   loss %.2e   middle %.2f dB   %3.0f s%s", terminal ? "\r" : "",
              std::string(full, '#').c_str(), std::string(kBar - full, '.').c_str(), static_cast<int>(now.step),
              static_cast<int>(now.steps), now.loss, now.quality, now.seconds, terminal && !last ? "" : "\n");
  std::fflush(stdout);
}

// The middle of the photograph, as it is and as it is seen.
struct Middle {
  Image clean, noisy;
  explicit Middle(const Sample& sample) {
    constexpr int64_t kSide = 128;
    const int64_t height = std::min(kSide, sample.clean.height), width = std::min(kSide, sample.clean.width);
    const denoise::Box box{(sample.clean.height - height) / 2, (sample.clean.width - width) / 2, height, width};
    clean = denoise::crop(sample.clean, box);
    noisy = denoise::crop(sample.noisy, box);
  }
  double quality(const train::Model& model, const nearfield::Options& options) const {
    return denoise::psnr(train::denoise_with(model, noisy, options), clean);
  }
};

train::Model fit(const Sample& sample, const train::TrainingPlan& plan) {
  constexpr int64_t kMemory = 20, kEvery = 5;  // steps: of the running mean; between looks at the middle
  const auto start = std::chrono::steady_clock::now();
  const Middle middle(sample);
  train::Trainer trainer(sample.clean, train::plain_model(plan.sigma, sample.h), plan);
  Progress now;
  now.steps = plan.steps;
  now.quality = middle.quality(trainer.model(), plan.options);
  std::printf("  before: middle of %s %.2f dB\n", sample.name.c_str(), now.quality);
  while (!trainer.done()) {
    const double loss = trainer.advance();
    now.step = trainer.step();
    now.loss += (loss - now.loss) / static_cast<double>(std::min(now.step, kMemory));
    if (now.step % kEvery == 0 || trainer.done()) now.quality = middle.quality(trainer.model(), plan.options);
    now.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    show(now);
  }
  return trainer.model();
}

std::string with_psnr(const char* name, const Image& image, const Image& original) {
  char text[80];
  std::snprintf(text, sizeof text, "%s: %.2f dB", name, denoise::psnr(image, original));
  return text;
}

void report(const Sample& sample, const train::Model& model, const Arguments& arguments, const char* remark) {
  const Image learnt = train::denoise_with(model, sample.noisy, arguments.plan.options);
  const double before = denoise::psnr(sample.plain, sample.clean), after = denoise::psnr(learnt, sample.clean);
  std::printf("  %-12s %8.2f dB %8.2f dB %8.2f dB %+8.2f dB   %s\n", sample.name.c_str(),
              denoise::psnr(sample.noisy, sample.clean), before, after, after - before, remark);
  const std::string stem = arguments.output_dir + "/" + sample.name;
  denoise::write_png(stem + "_noisy.png", sample.noisy);
  denoise::write_png(stem + "_plain.png", sample.plain);
  denoise::write_png(stem + "_learnt.png", learnt);
  denoise::write_png(stem + "_comparison.png",
                     denoise::draw_comparison({{with_psnr("noisy", sample.noisy, sample.clean), &sample.noisy},
                                               {with_psnr("plain", sample.plain, sample.clean), &sample.plain},
                                               {with_psnr("learnt", learnt, sample.clean), &learnt},
                                               {"original", &sample.clean}},
                                              sample.focus));
}

void run(Arguments arguments) {
  arguments.plan.options.with_threads(arguments.threads);
  make_directory(arguments.output_dir);
  // Noise of its own for each photograph; the trainer draws from the plan's seed itself.
  denoise::Random seeds(~arguments.plan.seed);
  std::printf("Noise of sigma %.3g added\n", arguments.plan.sigma);
  const Sample sample = load(arguments.photograph, arguments, seeds.next());
  std::vector<Sample> others;
  for (const std::string& path : arguments.others) others.push_back(load(path, arguments, seeds.next()));

  std::printf("Learning %d numbers from pieces of %s, each %dx%d pixels with fresh noise\n",
              static_cast<int>(train::kParameters), sample.name.c_str(), static_cast<int>(arguments.plan.side),
              static_cast<int>(arguments.plan.side));
  const train::Model model = fit(sample, arguments.plan);

  std::printf("\n  %-12s %11s %11s %11s %11s\n", "", "noisy", "plain", "learnt", "gain");
  report(sample, model, arguments, "learnt from");
  for (const Sample& other : others) report(other, model, arguments, "never seen in training");
  std::printf("\n  wrote NAME_noisy, _plain, _learnt and _comparison.png for each to %s\n",
              arguments.output_dir.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Learns how non-local means should compare patches");
  Arguments arguments;
  declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  try {
    run(arguments);
    return 0;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "nearfield_train: out of memory: filtering needs about 1000 bytes per pixel\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nearfield_train: %s\n", error.what());
  }
  return 1;
}
