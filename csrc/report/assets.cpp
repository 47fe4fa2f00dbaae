#include "motley/report/assets.h"

#include <cstddef>

// The assembler puts the files into the program as they are; C++26's #embed is not there yet. CMakeLists.txt names the
// folders and has this file built again when one of the files changes.
#define MOTLEY_BEGIN(name) ".globl motley_" name "\nmotley_" name ":\n"
#define MOTLEY_END(name) ".globl motley_" name "_end\nmotley_" name "_end:\n"
#define MOTLEY_FILE(path) ".incbin \"" path "\"\n"
asm(".pushsection .rodata\n"  //
    MOTLEY_BEGIN("page_html") MOTLEY_FILE(MOTLEY_PAGE "/page.html") MOTLEY_END("page_html") MOTLEY_BEGIN("page_css")
        MOTLEY_FILE(MOTLEY_PAGE "/page.css") MOTLEY_END("page_css") MOTLEY_BEGIN("page_js")
            MOTLEY_FILE(MOTLEY_PAGE "/theme.js") MOTLEY_FILE(MOTLEY_PAGE "/format.js")
                MOTLEY_FILE(MOTLEY_PAGE "/pipeline.js") MOTLEY_FILE(MOTLEY_PAGE "/charts.js")
                    MOTLEY_FILE(MOTLEY_PAGE "/router.js") MOTLEY_FILE(MOTLEY_PAGE "/main.js") MOTLEY_END("page_js")
                        MOTLEY_BEGIN("echarts_js") MOTLEY_FILE(MOTLEY_ECHARTS)
                            MOTLEY_END("echarts_js") ".popsection\n");

extern "C" {
extern const char motley_page_html[];
extern const char motley_page_html_end[];
extern const char motley_page_css[];
extern const char motley_page_css_end[];
extern const char motley_page_js[];
extern const char motley_page_js_end[];
extern const char motley_echarts_js[];
extern const char motley_echarts_js_end[];
}

namespace motley::assets {
namespace {

std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace

std::string_view page_html() {
  return between(motley_page_html, motley_page_html_end);
}

std::string_view page_css() {
  return between(motley_page_css, motley_page_css_end);
}

std::string_view page_js() {
  return between(motley_page_js, motley_page_js_end);
}

std::string_view echarts_js() {
  return between(motley_echarts_js, motley_echarts_js_end);
}

}  // namespace motley::assets
