#include "kernels/cuda/matmul_plan.h"

#include "base/error.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace templar::cuda {

namespace {

// 256 or the largest power of two that divides both.
int common_alignment(int so_far, const void* address) {
    while (reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(so_far)) so_far /= 2;
    return so_far;
}

bool known(DType in, DType out) {
    return (in == DType::bf16 && (out == DType::bf16 || out == DType::f32)) ||
           (in == DType::f32 && out == DType::f32);
}

std::string shape_text(const MatmulShape& s) {
    return fmt::format("{} {} {} {}{} {} {} {} {}", s.m, s.n, s.k, s.transpose_a ? 't' : 'n',
                       s.transpose_b ? 't' : 'n', name_of(s.in), name_of(s.out), s.accumulate ? "add" : "set",
                       s.alignment);
}

bool read_type(const std::string& text, DType& type) {
    type = text == "bf16" ? DType::bf16 : DType::f32;
    return text == name_of(type);
}

bool read_shape(const std::string& text, MatmulShape& s) {
    long long m = 0, n = 0, k = 0;
    char a = 0, b = 0, in[8] = "", out[8] = "", mode[8] = "";
    if (std::sscanf(text.c_str(), "%lld %lld %lld %c%c %7s %7s %7s %d", &m, &n, &k, &a, &b, in, out, mode,
                    &s.alignment) != 9)
        return false;
    s.m = m, s.n = n, s.k = k;
    s.transpose_a = a == 't', s.transpose_b = b == 't';
    s.accumulate = std::string_view(mode) == "add";
    return read_type(in, s.in) && read_type(out, s.out) && shape_text(s) == text;
}

bool read_algorithm(const std::string& text, MatmulAlgorithm& words) {
    if (text.size() != words.size() * 17 - 1) return false;  // 16 digits each, a space between
    for (size_t i = 0; i < words.size(); ++i) {
        unsigned long long word = 0;
        if (std::sscanf(text.c_str() + 17 * i, "%16llx", &word) != 1) return false;
        words[i] = word;
    }
    return true;
}

}  // namespace

MatmulShape matmul_shape(Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b, bool accumulate) {
    const int64_t m = c.rows(), n = c.last(), k = transpose_a ? a.rows() : a.last();
    const int64_t a_m = transpose_a ? a.last() : a.rows();
    const int64_t b_k = transpose_b ? b.last() : b.rows(), b_n = transpose_b ? b.rows() : b.last();
    if (a_m != m || b_n != n || b_k != k)
        fail(ExitCode::internal, "matmul: c is {}x{}, op(a) {}x{}, op(b) {}x{}", m, n, a_m, k, b_k, b_n);
    if (a.dtype != b.dtype || !known(a.dtype, c.dtype))
        fail(ExitCode::internal, "matmul: c {} = a {} · b {}", name_of(c.dtype), name_of(a.dtype),
             name_of(b.dtype));
    int alignment = 256;
    for (const Tensor& t : {a, b, c}) alignment = common_alignment(alignment, t.data);
    return {m, n, k, transpose_a, transpose_b, a.dtype, c.dtype, accumulate, alignment};
}

ColumnMajor left_operand(const MatmulShape& s) {
    return s.transpose_b ? ColumnMajor{s.k, s.n, true} : ColumnMajor{s.n, s.k, false};
}
ColumnMajor right_operand(const MatmulShape& s) {
    return s.transpose_a ? ColumnMajor{s.m, s.k, true} : ColumnMajor{s.k, s.m, false};
}
ColumnMajor result(const MatmulShape& s) {
    return {s.n, s.m, false};
}

std::string plan_line(std::string_view machine, const MatmulShape& shape, const MatmulAlgorithm& algorithm) {
    std::string line = fmt::format("{}\t{}\t", machine, shape_text(shape));
    for (size_t i = 0; i < algorithm.size(); ++i)
        line += fmt::format("{}{:016x}", i ? " " : "", algorithm[i]);
    return line + "\n";
}

std::map<MatmulShape, MatmulAlgorithm> read_plans(std::string_view text, std::string_view machine,
                                                  std::string_view name) {
    std::map<MatmulShape, MatmulAlgorithm> plans;
    int number = 0;
    for (size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1)) {
        ++number;
        const std::string_view line = text.substr(0, end);
        const size_t first = line.find('\t'),
                     second = first == line.npos ? first : line.find('\t', first + 1);
        MatmulShape shape{};
        MatmulAlgorithm algorithm{};
        if (second == line.npos ||
            !read_shape(std::string(line.substr(first + 1, second - first - 1)), shape) ||
            !read_algorithm(std::string(line.substr(second + 1)), algorithm))
            fail(ExitCode::input,
                 "{} line {}: not a plan of a matrix product; delete the file to have them chosen again",
                 name, number);
        if (line.substr(0, first) == machine) plans[shape] = algorithm;  // the newest line
    }
    return plans;
}

}  // namespace templar::cuda
