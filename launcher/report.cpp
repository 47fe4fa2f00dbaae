#include "motley/report/page.h"

#include <fmt/format.h>

#include <filesystem>
#include <iostream>

#include "motley/base/file.h"
#include "motley/launcher/options.h"
#include "motley/launcher/report.h"

namespace motley {

std::filesystem::path write_report(const std::vector<std::filesystem::path>& folders, std::filesystem::path file) {
  std::vector<AnalysedRun> runs;
  for (const std::filesystem::path& folder : folders) {
    for (RunData& data : read_run_and_comparisons(folder)) {
      Analysis analysis = analyse(data);
      runs.push_back({std::move(data), std::move(analysis)});
    }
  }
  if (file.empty()) {
    file = folders.front() / "report.html";
  }
  write_durably(file, page_of(runs));
  return file;
}

int command_report(const Invocation& invocation) {
  po::options_description options("options");
  std::vector<std::string> names;
  std::string out;
  options.add_options()("run", po::value(&names)->required(),
                        "folders of training runs; the first is compared with the others, and with the plans that "
                        "`motley run` compared it with")("out", po::value(&out),
                                                         "file to write (default: report.html in the first folder)");
  const auto values = parse_options(invocation, "report", "report RUN... [--out FILE]",
                                    "motley report run/quickstart --out report.html", options, "run");
  if (!values) {
    return 0;
  }
  const std::filesystem::path file = write_report({names.begin(), names.end()}, out);
  std::cout << fmt::format("report: {} (one file, opens in any browser without a network)\n", file.string());
  return 0;
}

}  // namespace motley
