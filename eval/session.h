// An evaluation of one model: which benchmarks, by which rules, and what they gave.
#pragma once

#include "eval/evaluate.h"
#include "weights/saved_model.h"

namespace templar {

struct SessionOptions {
    std::vector<std::string> tasks;                      // names, or "all": those whose data is there
    std::vector<std::filesystem::path> texts;            // perplexity of each
    std::filesystem::path data;                          // folder of data sets
    std::map<std::string, std::filesystem::path> files;  // by task, before what the folder has
    int64_t limit = 0;                                   // rows of each task, documents of each text; 0: all
    int64_t length = 0;                                  // tokens seen at once; 0: the model's
    int64_t overlap = 1;                                 // of a text's windows
    bool bos = false;
    int64_t batch_tokens = 8192;
    std::filesystem::path rows;  // empty: nothing is kept
};

class Session {
  public:
    // Reads and encodes all data. Throws Error(usage) on an unknown task or nothing to do, Error(input) when model and
    // tokenizer do not fit each other or a row is malformed.
    Session(const SavedModel& model, const Tokenizer& tokenizer, SessionOptions options);

    const std::vector<Workload>& works() const { return works_; }
    const std::vector<std::string>& skipped() const { return skipped_; }  // of "all"
    const RequestRules& rules() const { return rules_; }
    std::string description() const;  // a line for people

    // Told after each answer what of a work has been answered; returns false to stop.
    using Progress = std::function<bool(const Workload& work, const Answered& answered)>;
    // Throws Error(interrupted) when stopped; see answer() and RowsFile for others.
    std::vector<Result> run(Device& device, const Progress& progress);

    // All that is needed to repeat the figures, and the figures.
    nlohmann::json report(std::span<const Result> results, std::string_view program) const;

  private:
    void plan();
    std::filesystem::path file_of(const Task& task) const;
    nlohmann::json header(const Device& device) const;
    const SavedModel& model_;
    const Tokenizer& tokenizer_;
    SessionOptions options_;
    RequestRules rules_;
    std::vector<Workload> works_;
    std::vector<std::string> skipped_;
    std::string model_hash_, tokenizer_hash_, device_, compute_;
};

}  // namespace templar
