// What lies in $TEMPLAR_DATA; its README says where each file is from.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <vector>

namespace templar::test {

// main() has checked that it is set.
inline std::filesystem::path data_folder() {
    return std::getenv("TEMPLAR_DATA");
}

// The files of a folder whose names begin and end so, in order of their names: other files of the same form can be put beside them.
inline std::vector<std::filesystem::path> data_files(const std::filesystem::path& folder, std::string_view prefix,
                                                     std::string_view suffix) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(data_folder() / folder)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(prefix) && name.ends_with(suffix)) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

}  // namespace templar::test
