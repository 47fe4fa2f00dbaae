#include <algorithm>
#include <charconv>
#include <map>
#include <sstream>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/partitioner/importers/importers.h"

namespace motley {
namespace {

constexpr double kSecondsPerMillisecond = 1e-3;

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file)
      : source_(file.string()), in_(read_text(file, "a PipeDream graph.txt")) {}

  ModelGraph read() {
    std::string line;
    while (std::getline(in_, line)) {
      ++line_;
      if (line.ends_with('\r')) {
        line.pop_back();
      }
      if (line.starts_with('\t')) {
        read_edge(line.substr(1));
      } else if (!line.empty()) {
        read_node(line);
      }
    }
    return without_inputs();
  }

 private:
  struct Node {
    std::string name;
    std::string description;
    ModelGraph::Node values;
  };

  [[noreturn]] void fail(const std::string& found, const char* expected) const {
    throw InputError::of("{}: line {}: found \"{}\", expected {}", source_, line_, found.substr(0, 80), expected);
  }

  void read_node(const std::string& line) {
    const std::size_t first = line.find(" -- ");
    const std::size_t last = line.rfind(" -- ");
    if (first == std::string::npos || first == last) {
      fail(line, "\"node -- description -- forward_compute_time=..., ...\"");
    }
    const std::string figures = line.substr(last + 4);
    Node node;
    node.name = line.substr(0, first);
    node.description = line.substr(first + 4, last - first - 4);
    node.values.name = node.name + " " + node.description;
    node.values.compute = Seconds{(figure(figures, "forward_compute_time") + figure(figures, "backward_compute_time")) *
                                  kSecondsPerMillisecond};
    node.values.output = Bytes{static_cast<std::int64_t>(figure(figures, "activation_size"))};
    node.values.parameters = Bytes{static_cast<std::int64_t>(figure(figures, "parameter_size"))};
    node.values.memory = node.values.output + node.values.parameters;
    if (!number_of_.emplace(node.name, static_cast<int>(nodes_.size())).second) {
      fail(node.name, "each node once");
    }
    nodes_.push_back(std::move(node));
  }

  /// A number, or the sum of a list "[1.0; 2.0]".
  double figure(const std::string& figures, const std::string& name) const {
    const std::size_t at = figures.find(name + "=");
    if (at == std::string::npos) {
      fail(figures, ("a figure " + name).c_str());
    }
    std::size_t begin = at + name.size() + 1;
    const bool list = begin < figures.size() && figures[begin] == '[';
    const std::size_t end = list ? figures.find(']', begin) : figures.find(',', begin);
    std::string text =
        figures.substr(begin + (list ? 1 : 0), end == std::string::npos ? end : end - begin - (list ? 1 : 0));
    double sum = 0.0;
    while (true) {
      const std::size_t separator = text.find(';');
      std::string part = text.substr(0, separator);
      part.erase(0, part.find_first_not_of(' '));
      part.erase(part.find_last_not_of(' ') + 1);
      double value = 0.0;
      const auto [rest, error] = std::from_chars(part.data(), part.data() + part.size(), value);
      if (error != std::errc() || rest != part.data() + part.size() || !(value >= 0.0 && value < 1e18)) {
        fail(fmt::format("{}={}", name, part), "a number that is finite and not negative");
      }
      sum += value;
      if (separator == std::string::npos) {
        return sum;
      }
      text.erase(0, separator + 1);
    }
  }

  void read_edge(const std::string& line) {
    const std::size_t middle = line.find(" -- ");
    if (middle == std::string::npos) {
      fail(line, "an edge \"node -- node\"");
    }
    ModelGraph::Edge edge;
    for (const auto& [name, end] :
         {std::pair(line.substr(0, middle), &edge.from), std::pair(line.substr(middle + 4), &edge.to)}) {
      const auto found = number_of_.find(name);
      if (found == number_of_.end()) {
        fail(name, "a node that stands above");
      }
      *end = found->second;
    }
    edges_.push_back(edge);
  }

  ModelGraph without_inputs() {
    std::vector<bool> dropped(nodes_.size(), false);
    const auto drop = [&](const char* description, int ModelGraph::Edge::*inner_end) {
      std::vector<bool> has(nodes_.size(), false);
      for (const ModelGraph::Edge& edge : edges_) {
        has[static_cast<std::size_t>(edge.*inner_end)] = true;
      }
      for (std::size_t i = 0; i < nodes_.size(); ++i) {
        dropped[i] = dropped[i] || (!has[i] && nodes_[i].description.starts_with(description));
      }
    };
    drop("Input", &ModelGraph::Edge::to);          // nothing goes to it
    drop("__getitem__", &ModelGraph::Edge::from);  // nothing comes from it
    ModelGraph graph;
    graph.name = std::filesystem::path(source_).filename().string();
    std::vector<int> kept(nodes_.size(), -1);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!dropped[i]) {
        kept[i] = static_cast<int>(graph.nodes.size());
        graph.nodes.push_back(nodes_[i].values);
        graph.nodes.back().group = kept[i];
      }
    }
    for (const ModelGraph::Edge& edge : edges_) {
      const int from = kept[static_cast<std::size_t>(edge.from)];
      const int to = kept[static_cast<std::size_t>(edge.to)];
      if (from >= 0 && to >= 0) {
        graph.edges.push_back({from, to, {}});
      }
    }
    validate(graph, source_);
    return graph;
  }

  std::string source_;
  std::istringstream in_;
  int line_ = 0;
  std::vector<Node> nodes_;
  std::vector<ModelGraph::Edge> edges_;
  std::map<std::string, int> number_of_;
};

}  // namespace

ModelGraph import_pipedream(const std::filesystem::path& file) {
  return Reader(file).read();
}

}  // namespace motley
