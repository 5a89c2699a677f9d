#include "jointtuner/report/run_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>

#include "jointtuner/base/atomic_file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::report {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

/// A run of three steps with one preview, its files written by hand.
class RunReportTest : public ::testing::Test {
 protected:
  RunReportTest() {
    write("config.json", R"({"about": "how to run it", "program": "jointtuner 9.9",
      "run": {"name": "corgi & <skate>", "seed": 4}, "train": {"steps": 3, "learning_rate": 0.0005},
      "data": {"height": 32, "images": [{"path": "pictures"}], "videos": []},
      "sample": {"prompts": ["a <b>corgi</b>", "a \"dog\""], "seeds": [1, 2]}})");
    write("facts.json", R"({"backbone": {"name": "nano", "family": "unet3d"}, "parameters": 1234,
      "sites": [{"group": "spatial", "sites": 24, "parameters": 1000}],
      "items": [{"kind": "picture", "path": "pictures/x.jpg", "caption": "<img src=x onerror=alert(1)>",
                 "size": "640x480", "use": "32x32"}], "skipped": [{"path": "y.jpg", "reason": "empty & cut"}]})");
    write("metrics.jsonl",
          "{\"step\": 1, \"loss_image\": 0.5, \"loss_video\": 1.5, \"seconds\": 2, \"gradient_norm\": 0.25}\n"
          "{\"step\": 2, \"loss_image\": 0.375, \"loss_video\": null, \"seconds\": 2}\n"
          "{\"step\": 3, \"loss_image\": 0.125, \"seconds\": 2, \"peak_memory_bytes\": 1073741824}\n");
    preview("step_00000002", "older");
    preview("step_00000003", "newer");
  }

  void write(const fs::path& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  void preview(const std::string& step, const std::string& bytes) {
    const fs::path at = fs::path("previews") / step;
    write(at / "000_a_s1.mp4", bytes);
    write(at / "sheet.png", "sheet");
    write(at / "samples.jsonl", "{\"file\": \"000_a_s1.mp4\", \"prompt\": \"a <script>\", \"seed\": 1}\n");
  }
  std::string page(int64_t embedded_bytes = 1000) {
    return run_report(folder_.path(), {.embedded_bytes = embedded_bytes});
  }

  testing::TemporaryFolder folder_;
};

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST_F(RunReportTest, ShowsWhatTheRunDid) {
  const std::string html = page();
  for (const char* part :
       {"3 of 3", "1234", "1.00 GiB", "how to run it", "jointtuner 9.9", "640x480", "pictures/x.jpg", "spatial",
        "unet3d", "learning_rate</td><td>0.0005", "empty &amp; cut", "height</td><td>32", "seeds</td><td>1; 2"})
    EXPECT_THAT(html, HasSubstr(part));
  // The curves: every step, a gap where a step has no value.
  EXPECT_THAT(html, HasSubstr(R"("step":[1,2,3])"));
  EXPECT_THAT(html, HasSubstr(R"("loss_image":[0.5,0.375,0.125])"));
  EXPECT_THAT(html, HasSubstr(R"("loss_video":[1.5,null,null])"));
  EXPECT_THAT(html, HasSubstr(R"("gradient_norm":[0.25,null,null])"));
}

TEST_F(RunReportTest, EmbedsPreviewsNewestFirst) {
  const std::string html = page();
  const size_t newer = html.find("data:video/mp4;base64,bmV3ZXI="), older = html.find("data:video/mp4;base64,b2xkZXI=");
  ASSERT_NE(newer, std::string::npos);
  ASSERT_NE(older, std::string::npos);
  EXPECT_LT(newer, older);
  EXPECT_EQ(count(html, "data:image/png;base64,c2hlZXQ="), 2U);
  EXPECT_EQ(count(html, "<details open>"), 1U);
  EXPECT_THAT(html, HasSubstr("<summary>Step 3</summary>"));
}

TEST_F(RunReportTest, Base64OfEveryRemainder) {
  const std::pair<const char*, const char*> pairs[] = {
      {"M", "TQ=="}, {"Ma", "TWE="}, {"Man", "TWFu"}, {"\xFF\xFE", "//4="}};
  for (const auto& [bytes, text] : pairs) {
    preview("step_00000003", bytes);
    EXPECT_THAT(page(), HasSubstr(std::string("data:video/mp4;base64,") + text + "\""));
  }
}

TEST_F(RunReportTest, WhatDoesNotFitIsNamed) {
  const std::string html = page(10);  // the newer video and sheet have ten bytes
  EXPECT_THAT(html, HasSubstr("bmV3ZXI="));
  EXPECT_THAT(html, Not(HasSubstr("b2xkZXI=")));
  EXPECT_THAT(html, HasSubstr("2 files are not embedded"));
  EXPECT_THAT(html, HasSubstr(">000_a_s1.mp4<"));
  EXPECT_THAT(page(), Not(HasSubstr("not embedded")));
}

TEST_F(RunReportTest, IsOneFileThatLoadsNothing) {
  std::string html = page();
  const std::string name_space = "http://www.w3.org/2000/svg";  // names the kind of an element, is never loaded
  for (size_t at; (at = html.find(name_space)) != std::string::npos;) html.erase(at, name_space.size());
  for (const char* part : {"http://", "https://", "src=\"//", "<link", "@import", "url(", "fetch("})
    EXPECT_THAT(html, Not(HasSubstr(part)));
  const std::regex source("<[a-z][^<>]* (src|href)=\"?([^\" >]*)");
  for (std::sregex_iterator at(html.begin(), html.end(), source); at != std::sregex_iterator(); ++at)
    EXPECT_TRUE((*at)[2].str().starts_with("data:")) << (*at)[0];
}

TEST_F(RunReportTest, TextsAreEscaped) {
  const std::string html = page();
  for (const char* raw : {"<skate>", "<b>corgi", "<img src=x", "a <script>"}) EXPECT_THAT(html, Not(HasSubstr(raw)));
  for (const char* part : {"<h1>corgi &amp; &lt;skate&gt;</h1>", "<title>corgi &amp; &lt;skate&gt;</title>",
                           "a &lt;b&gt;corgi&lt;/b&gt;; a &quot;dog&quot;", "&lt;img src=x onerror=alert(1)&gt;",
                           "a &lt;script&gt; (seed 1)"})
    EXPECT_THAT(html, HasSubstr(part));
  write("metrics.jsonl", "{\"step\": 1, \"loss_image\": 1}\n");
  const std::string curves = page();
  EXPECT_EQ(count(curves, "<script"), count(curves, "</script>"));
}

TEST_F(RunReportTest, APreviewCannotNameAFileOutsideItsFolder) {
  write("secret.mp4", "secret");
  write("previews/step_00000003/samples.jsonl", "{\"file\": \"../../secret.mp4\", \"prompt\": \"x\", \"seed\": 1}\n");
  EXPECT_THAT(page(), Not(HasSubstr("c2VjcmV0")));
}

TEST_F(RunReportTest, AKilledRunHasAReport) {
  std::ofstream(folder_ / "metrics.jsonl", std::ios::app) << "{\"step\": 4, \"loss_im";
  EXPECT_THAT(page(), HasSubstr(R"("step":[1,2,3])"));
  fs::create_directories(folder_ / "previews/step_00000004.partial-1-1");  // half a preview
  EXPECT_THAT(page(), Not(HasSubstr("Step 4")));
  fs::remove(folder_ / "previews/step_00000003/000_a_s1.mp4");
  fs::remove(folder_ / "previews/step_00000002/samples.jsonl");
  EXPECT_THAT(page(), HasSubstr(">000_a_s1.mp4<"));
  fs::remove_all(folder_ / "previews");
  EXPECT_THAT(page(), Not(HasSubstr("Previews")));
  fs::remove(folder_ / "metrics.jsonl");
  EXPECT_THAT(page(), Not(HasSubstr("Curves")));
  fs::remove(folder_ / "facts.json");
  EXPECT_THAT(page(), HasSubstr("learning_rate"));
}

TEST_F(RunReportTest, ALongRunShowsMeans) {
  std::string lines;
  for (int step = 1; step <= 4001; ++step)
    lines += "{\"step\": " + std::to_string(step) + ", \"loss_image\": " + (step % 2 != 0 ? "1" : "3") + "}\n";
  write("metrics.jsonl", lines);  // 2000 points at most: three steps each
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr("mean of 3 steps"));
  EXPECT_THAT(html, HasSubstr(R"("step":[3,6,9,)"));
  EXPECT_THAT(html, HasSubstr(R"(,3999,4001])"));  // the last one holds what is left
  EXPECT_THAT(html, HasSubstr(R"("loss_image":[1.6666666666666667,2.3333333333333335,)"));
}

TEST_F(RunReportTest, WhatIsNoRunIsRefused) {
  fs::remove(folder_ / "config.json");
  EXPECT_ERROR(page(), Error, "config.json");
  write("config.json", "[1]");
  EXPECT_ERROR(page(), Error, "config.json", "is this a run's folder?");
}

TEST_F(RunReportTest, IsWrittenBesideTheRun) {
  write_run_report(folder_.path(), {.embedded_bytes = 1000});
  EXPECT_EQ(read_file(folder_ / "report.html"), page());
}

}  // namespace
}  // namespace jointtuner::report
