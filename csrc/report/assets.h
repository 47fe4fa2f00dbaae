#pragma once

#include <string_view>

/// Files of the page as they were when the program was built.
namespace motley::assets {

[[nodiscard]] std::string_view page_html();  ///< with {{NAME}} where the others go
[[nodiscard]] std::string_view page_css();
[[nodiscard]] std::string_view page_js();     ///< all scripts of the page, one after the other
[[nodiscard]] std::string_view echarts_js();  ///< Apache ECharts: defines the global `echarts`

}  // namespace motley::assets
