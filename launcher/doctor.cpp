#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "motley/launcher/options.h"
#include "motley/launcher/versions.h"

namespace motley {
namespace {

enum class Verdict { Fine, Note, Missing };

struct Finding {
  std::string topic;
  std::string found;
  Verdict verdict = Verdict::Fine;
  std::string advice;  ///< what to do about it
};

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

/// Empty when there is no such file.
std::string first_line(const std::string& file) {
  std::string line;
  std::ifstream stream(file);
  std::getline(stream, line);
  return line;
}

/// The value of "KEY : value" in a file of such lines.
std::string field_of(const std::string& file, const std::string& key) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(key)) {
      const std::size_t value = line.find_first_not_of(" \t:", line.find(':'));
      return value == std::string::npos ? "" : line.substr(value);
    }
  }
  return "";
}

/// The number that a text begins with; 0 for one that does not.
double number_in(const std::string& text) {
  std::istringstream stream(text);
  double number = 0.0;
  return stream >> number ? number : 0.0;
}

int usable_cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

Finding processor() {
  const int cores = usable_cores();
  Finding finding{"cores", fmt::format("{} usable", cores), Verdict::Fine, ""};
  if (const std::string model = field_of("/proc/cpuinfo", "model name"); !model.empty()) {
    finding.found += " of " + model;
  }
  double quota = 0.0;
  double period = 0.0;
  std::istringstream limits(first_line("/sys/fs/cgroup/cpu.max"));
  if (limits >> quota >> period && period > 0.0 && quota < cores * period) {
    finding.found += fmt::format(", {:.1f} by quota", quota / period);
    finding.verdict = Verdict::Note;
    finding.advice = "a CPU quota stops ranks in bursts, which profiles show as noise; give whole cores instead";
  }
  return finding;
}

Finding load() {
  double average = 0.0;
  getloadavg(&average, 1);
  const bool busy = average > 0.3 * usable_cores();
  return {"load", fmt::format("{:.2f} over the last minute", average), busy ? Verdict::Note : Verdict::Fine,
          busy ? "other work runs here: profiles measured now would be noisy" : ""};
}

Finding governor() {
  const std::string found = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  const bool slow = found == "powersave" || found == "ondemand" || found == "conservative";
  return {"frequency", found.empty() ? "not governed here" : found, slow ? Verdict::Note : Verdict::Fine,
          slow ? "the clock follows the load: for steady measurements, cpupower frequency-set -g performance" : ""};
}

Finding clock_source() {
  const std::string found = first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  const bool slow = found == "hpet" || found == "acpi_pm" || found == "jiffies";
  return {"clock", found.empty() ? "unknown" : found, slow ? Verdict::Note : Verdict::Fine,
          slow ? "reading this clock takes microseconds, which short layers' times will contain" : ""};
}

Finding memory() {
  const auto kib = [](const char* key) { return number_in(field_of("/proc/meminfo", key)) * 1024.0; };
  const double available = kib("MemAvailable");
  Finding finding{"memory", fmt::format("{:.1f} GiB, {:.1f} free", kib("MemTotal") / kGiB, available / kGiB),
                  Verdict::Fine, ""};
  const std::string limit = first_line("/sys/fs/cgroup/memory.max");
  if (!limit.empty() && limit != "max") {
    finding.found += fmt::format(", at most {:.1f} by cgroup", number_in(limit) / kGiB);
  }
  if (available < 2 * kGiB) {
    finding.verdict = Verdict::Note;
    finding.advice = "the quickstart's four ranks take about 2 GiB";
  }
  return finding;
}

Finding space(const std::string& topic, const std::string& folder, double least, const std::string& advice) {
  struct statvfs status {};
  if (statvfs(folder.c_str(), &status) != 0) {
    return {topic, folder + " is not there", Verdict::Note, advice};
  }
  const double free = static_cast<double>(status.f_bavail) * static_cast<double>(status.f_frsize);
  const bool writable = access(folder.c_str(), W_OK) == 0;
  return {topic, fmt::format("{:.1f} GiB free{}", free / kGiB, writable ? "" : ", read-only"),
          free < least || !writable ? Verdict::Note : Verdict::Fine, free < least || !writable ? advice : ""};
}

Finding open_files() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const bool few = limit.rlim_cur < 1024;
  return {"open files", fmt::format("{} a process", limit.rlim_cur), few ? Verdict::Note : Verdict::Fine,
          few ? "a rank holds one connection to every other; raise with ulimit -n" : ""};
}

std::optional<std::string> on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string file = folder;
    file += '/' + program;
    if (access(file.c_str(), X_OK) == 0) {
      return file;
    }
  }
  return std::nullopt;
}

Finding mpirun() {
  if (const auto found = on_path("mpirun")) {
    return {"mpirun", *found, geteuid() == 0 ? Verdict::Note : Verdict::Fine,
            geteuid() == 0 ? "as root, Open MPI's mpirun wants --allow-run-as-root (motley run gives it)" : ""};
  }
  return {"mpirun", "not on PATH", Verdict::Missing, "scripts/setup, or: apt-get install openmpi-bin"};
}

Finding network() {
  ifaddrs* all = nullptr;
  std::string found;
  if (getifaddrs(&all) == 0) {
    for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
      std::array<char, NI_MAXHOST> text{};
      if (one->ifa_addr != nullptr && one->ifa_addr->sa_family == AF_INET && (one->ifa_flags & IFF_UP) != 0 &&
          getnameinfo(one->ifa_addr, sizeof(sockaddr_in), text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0) {
        found += fmt::format("{}{} {}", found.empty() ? "" : ", ", one->ifa_name, text.data());
      }
    }
    freeifaddrs(all);
  }
  return {"network", found.empty() ? "no interface with an address is up" : found,
          found.empty() ? Verdict::Missing : Verdict::Fine,
          found.empty() ? "ranks meet over TCP, on one machine over loopback: ip link set lo up" : ""};
}

/// Asks the driver itself, so that no CUDA library is needed.
Finding gpus() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    return {"GPUs", "none: no NVIDIA driver", Verdict::Note, "stages run on host cores; nothing is missing for that"};
  }
  const auto call = [&]<typename... Arguments>(const char* name, Arguments... arguments) {
    auto* function = reinterpret_cast<int (*)(Arguments...)>(dlsym(driver, name));
    return function != nullptr && function(arguments...) == 0;
  };
  int count = 0;
  int version = 0;
  if (!call("cuInit", 0U) || !call("cuDeviceGetCount", &count) || !call("cuDriverGetVersion", &version)) {
    return {"GPUs", "the NVIDIA driver is there but does not start", Verdict::Note, "nvidia-smi tells more"};
  }
  std::string found = fmt::format("{} (driver for CUDA {}.{})", count, version / 1000, version % 1000 / 10);
  for (int device = 0; device < count; ++device) {
    std::array<char, 256> name{};
    std::size_t bytes = 0;
    call("cuDeviceGetName", name.data(), static_cast<int>(name.size()), device);
    call("cuDeviceTotalMem_v2", &bytes, device);
    found += fmt::format("; {} {:.0f} GiB", name.data(), static_cast<double>(bytes) / kGiB);
  }
  return {"GPUs", found, Verdict::Fine, "--device cuda uses them; scripts/gpu_acceptance says what works here"};
}

Finding nvcc() {
  const auto found = on_path("nvcc");
  return {"nvcc", found.value_or("not on PATH"), Verdict::Fine,
          found ? "" : "only needed to build the CUDA kernels for GPUs"};
}

const char* word_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::Fine:
      return "ok";
    case Verdict::Note:
      return "note";
    case Verdict::Missing:
      return "MISSING";
  }
  return "";
}

}  // namespace

int command_doctor(const Invocation& invocation) {
  po::options_description options("options");
  options.add_options()("json", "print one JSON object");
  const auto values = parse_options(invocation, "doctor", "doctor", "motley doctor", options, "");
  if (!values) {
    return 0;
  }
  const std::vector<Finding> findings{
      processor(),
      load(),
      governor(),
      clock_source(),
      memory(),
      space("shared memory", "/dev/shm", 64e6,
            "Open MPI passes messages through it; give the container more --shm-size"),
      space("this folder", ".", 2e9, "runs write here; [run_directory] may name another place"),
      open_files(),
      mpirun(),
      network(),
      gpus(),
      nvcc()};
  bool complete = true;
  for (const Finding& finding : findings) {
    complete = complete && finding.verdict != Verdict::Missing;
  }
  if (values->contains("json")) {
    nlohmann::json object = {{"complete", complete}};
    for (const auto& [name, version] : version_table()) {
      object["versions"][name] = version;
    }
    for (const Finding& finding : findings) {
      object["findings"].push_back({{"topic", finding.topic},
                                    {"found", finding.found},
                                    {"verdict", word_of(finding.verdict)},
                                    {"advice", finding.advice}});
    }
    std::cout << object << '\n';
  } else {
    std::cout << versions() << '\n';
    for (const Finding& finding : findings) {
      std::cout << fmt::format("{:<8} {:<14} {}\n", word_of(finding.verdict), finding.topic, finding.found);
      if (!finding.advice.empty()) {
        std::cout << fmt::format("{:<24}{}\n", "", finding.advice);
      }
    }
    std::cout << (complete ? "\nThis machine can run motley run configs/quickstart.toml.\n"
                           : "\nSomething is missing that training under mpirun needs.\n");
  }
  return complete ? 0 : 1;
}

}  // namespace motley
