#include "steadfast/study/train_program.h"

#include <fmt/format.h>

#include "steadfast/base/error.h"
#include "steadfast/base/process.h"
#include "steadfast/base/version.h"

namespace steadfast::study {
namespace {

using nlohmann::json;

[[noreturn]] void ThrowReported(const json& event) {
  const std::string kind = event.value("kind", ""), message = event.value("message", "failed");
  if (kind == "usage") throw UsageError(message);
  if (kind == "interrupted") throw InterruptedError(message);
  throw Error(message);
}

}  // namespace

std::filesystem::path FindTrainProgram() {
  const auto path = FolderOfThisProgram() / "steadfast-train";
  if (!std::filesystem::exists(path)) {
    throw IoError(
        fmt::format("{} is not there, and this needs it; build with LibTorch (-DSTEADFAST_TRAIN=ON; apt-get "
                    "install libtorch-dev "
                    "libopenblas0-pthread), or do this on another machine and bring the .onnx file or the store here",
                    path.string()));
  }
  return path;
}

std::vector<std::string> ArgumentsOf(const TrainRequest& request) {
  std::vector<std::string> arguments = {"train", "--recipe", recipe::ToJson(request.recipe).dump(), "--output",
                                        request.output.string()};
  if (!request.data.empty()) arguments.insert(arguments.end(), {"--data", request.data.string()});
  return arguments;
}

json RunTrainProgram(const std::vector<std::string>& arguments, const std::function<void(const json&)>& on_event,
                     const Cancellation* cancellation) {
  const auto program = FindTrainProgram();
  json done, failure;
  bool greeted = false;
  const auto on_line = [&](std::string_view line) {
    const json event = json::parse(line, nullptr, false);
    if (!event.is_object()) return;  // a library's own chatter
    const std::string kind = event.value("event", "");
    if (kind == "hello") {
      greeted = true;
      if (event.value("version", "") != Version()) {
        throw Error(fmt::format("{} is version {}, and this is {}; build or install both together", program.string(),
                                event.value("version", "?"), Version()));
      }
    }
    if (kind == "done") done = event;
    if (kind == "error") failure = event;
    if (on_event) on_event(event);
  };
  const ProcessResult result = RunProcess(program, arguments, on_line, cancellation);
  if (!failure.is_null()) ThrowReported(failure);
  if (cancellation != nullptr) cancellation->ThrowIfRequested();
  if (result.exit_code != 0 || !greeted || done.is_null()) {
    throw Error(fmt::format("{} ended with exit code {} before it was done{}{}", program.string(), result.exit_code,
                            result.errors.empty() ? "" : ":\n", result.errors));
  }
  return done;
}

}  // namespace steadfast::study
